"""The whole pipeline at its smallest scale: every task, from nothing to scores."""

import csv
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
from imageio_ffmpeg import count_frames_and_secs
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from tests.projects import change_parameters, dvc, enter, make_finished, run, store
from world_models import cli
from world_models.data.seeds import TEST

GAMES = ["carracing", "takecover"]
EPISODES = {"carracing": 2, "takecover": 2, "pendulum": 10}
"""How many the agents are scored on; Pendulum's are enough for the gate."""
GENERATIONS = {"carracing": [1, 2], "takecover": [1, 2], "pendulum": [1, 2, 3, 4]}
STAGES = ["collect", "vae", "encode", "rnn", "fidelity", "controller", "evaluate", "register"]
REPORTS = [
    *("collect.json", "vae.json", "rnn.json", "fidelity.json", "controller.json", "scores.json"),
    *("generations.csv", "returns.csv"),
]


@dataclass(frozen=True)
class Made:
    """A project in which `dvc repro` has run, and its MLflow runs by their names."""

    path: Path
    tasks: list[str]
    runs: dict[str, Run]
    client: MlflowClient


def read(path: Path, tasks: list[str]) -> Made:
    client = store(path)
    experiment = client.get_experiment_by_name("world-models")
    found = client.search_runs([experiment.experiment_id], max_results=100)
    return Made(path, tasks, {run.info.run_name: run for run in found}, client)


@pytest.fixture(scope="module")
def games(tmp_path_factory):
    """The paper's games, in one project."""
    path = tmp_path_factory.mktemp("games")
    changes = {"machine": {"workers": 1}, "smoke.all.fidelity": {"episodes": 2}}
    make_finished(path, GAMES, changes)
    return read(path, GAMES)


@pytest.fixture(scope="module")
def pendulum(copy):
    return read(copy(), ["pendulum"])


@pytest.fixture(scope="module", params=["games", "pendulum"])
def project(request):
    """Each project in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module", params=EPISODES)
def task(request):
    """Each task in turn."""
    return request.param


@pytest.fixture(scope="module")
def made(request, task):
    """The project of the task."""
    return request.getfixturevalue("games" if task in GAMES else task)


@pytest.fixture
def reports(made, task):
    return made.path / "reports" / task


def test_agents_are_scored_in_the_real_world_in_the_dream_and_at_random(reports, task):
    scores = json.loads((reports / "scores.json").read_text())
    assert scores["protocol"]["scale"] == "smoke"
    for kind in ("real", "dream", "random"):
        assert {"mean", "std", "ci95", "episodes"} <= set(scores[kind])
        low, high = scores[kind]["ci95"]
        assert low <= scores[kind]["mean"] <= high
        assert scores[kind]["episodes"] == EPISODES[task]
    gap = scores["dream"]["mean"] - scores["real"]["mean"]
    assert scores["dream_to_real_gap"] == pytest.approx(gap, abs=0.02)


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_each_episodes_return_is_there_to_be_plotted(reports, task):
    scores = json.loads((reports / "scores.json").read_text())
    rows = table(reports / "returns.csv")
    assert [int(row["seed"]) for row in rows] == list(TEST[: EPISODES[task]])
    for kind in ("real", "dream", "random"):
        mean = sum(float(row[kind]) for row in rows) / len(rows)
        assert mean == pytest.approx(scores[kind]["mean"], abs=0.01)
    generations = table(reports / "generations.csv")
    assert [int(row["generation"]) for row in generations] == GENERATIONS[task]
    assert all(row["real_mean"] and row["dream_mean"] for row in generations)


def test_there_is_something_to_see(reports):
    frames, _ = count_frames_and_secs(reports / "agent.mp4")
    assert frames == 20
    with Image.open(reports / "reconstructions.png") as picture:
        assert picture.width > picture.height > 128


def test_losses_and_fidelity_are_reported(reports, task):
    vae, rnn, fidelity = (
        json.loads((reports / f"{name}.json").read_text()) for name in ("vae", "rnn", "fidelity")
    )
    assert {"validation/reconstruction", "validation/kl"} <= set(vae)
    assert "validation/nll" in rnn
    assert ("validation/reward_error" in rnn) == (task != "takecover")
    done_figures = {"validation/done_precision", "validation/done_recall"}
    assert (done_figures <= set(rnn)) == (task != "pendulum")
    for policy in ("collection", "still"):
        assert fidelity[f"{policy}_disagreement"] >= 0
        for world in ("dream", "real"):
            assert fidelity[f"{policy}_{world}_survival"] > 0
            assert f"{policy}_{world}_return" in fidelity


def test_every_stage_has_a_finished_run_with_parameters_metrics_and_its_origin(project):
    stages = [f"{stage}@{task}" for stage in STAGES for task in project.tasks]
    assert sorted(project.runs) == sorted(stages)
    # What has been made is committed.
    revision = run(project.path, "git", "rev-parse", "HEAD^").stdout.strip()
    for name, logged in project.runs.items():
        assert logged.info.status == "FINISHED", name
        assert logged.data.params, name
        assert logged.data.metrics, name
        assert logged.data.tags["dvc.stage"] == name
        assert logged.data.tags["git_revision"] == revision
        assert logged.data.tags["git_changed"] == "false"
    keys = {logged.data.tags["dvc.stage_key"] for logged in project.runs.values()}
    assert len(keys) == len(project.runs)
    assert keys == {path.name for path in (project.path / ".dvc" / "cache" / "runs").glob("*/*")}


def test_a_run_names_what_it_read_and_what_it_wrote(made, task):
    logged = made.runs[f"rnn@{task}"]
    lineage = mlflow.artifacts.load_dict(f"{logged.info.artifact_uri}/lineage.json")
    inputs, written = lineage["inputs"], lineage["outputs"]
    vae, rnn = (f"models/{task}/{name}.safetensors" for name in ("vae", "rnn"))
    assert inputs[vae] == hashlib.md5((made.path / vae).read_bytes()).hexdigest()
    assert inputs[f"data/{task}/latents"].endswith(".dir")
    assert written[rnn] == hashlib.md5((made.path / rnn).read_bytes()).hexdigest()
    (read,) = logged.inputs.dataset_inputs
    assert read.dataset.name == f"data/{task}/latents"
    assert read.dataset.digest == inputs[f"data/{task}/latents"]


def test_a_run_explains_itself_in_few_words(made, task):
    experiment = made.client.get_experiment_by_name("world-models")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    for name, logged in made.runs.items():
        tags = logged.data.tags
        own = {key for key in tags if not key.startswith("mlflow.")}
        assert own == {
            *(
                "stage",
                "task",
                "round",
                "scale",
                "git_revision",
                "git_changed",
                "start",
                "precision.auto",
                "machine",
            ),
            *("dvc.stage", "dvc.stage_key", "dvc.outputs"),
        }
        stage = name.partition("@")[0]
        assert tags["mlflow.note.content"].startswith(("An agent for ", f"Stage {stage}: "))
        assert f"ound `{name.partition('@')[2]}` at scale `smoke`" in tags["mlflow.note.content"]


def test_one_run_names_those_of_all_stages_and_carries_the_scores(made, task):
    register = made.runs[f"register@{task}"]
    said = register.data.tags["mlflow.note.content"]
    for stage in STAGES[:-1]:
        logged = made.runs[f"{stage}@{task}"]
        page = f"#/experiments/{logged.info.experiment_id}/runs/{logged.info.run_id}"
        assert f"| {stage} | [{logged.info.run_id}]({page}) |" in said
    assert f"[world-models-{task}, version 1](#/models/world-models-{task}/versions/1)" in said
    scored = made.runs[f"evaluate@{task}"].data.metrics
    assert register.data.metrics["real/mean"] == pytest.approx(scored["real/mean"], abs=0.01)
    assert {"vae/validation/loss", "rnn/validation/nll"} <= set(register.data.metrics)
    assert {"vae.batches", "dream.temperature"} <= set(register.data.params)
    (version,) = made.client.search_model_versions(f"name = 'world-models-{task}'")
    assert version.run_id == register.info.run_id
    assert float(version.tags["real_mean"]) == pytest.approx(register.data.metrics["real/mean"])
    source = f"source_run_id = '{register.info.run_id}'"
    (model,) = made.client.search_logged_models([register.info.experiment_id], source)
    measured = {metric.key: metric.value for metric in model.metrics}
    assert measured == register.data.metrics


def test_runs_hold_their_checkpoints_pictures_videos_and_scores(made, task):
    for stage, files in {
        "vae": {"vae.safetensors", "reconstructions.png", "vae.json"},
        "rnn": {"rnn.safetensors", "rnn.json"},
        "controller": {"controller.safetensors", "generations.csv", "controller.json"},
        "evaluate": {"scores.json", "returns.csv", "agent.mp4"},
    }.items():
        run_id = made.runs[f"{stage}@{task}"].info.run_id
        assert files <= {artifact.path for artifact in made.client.list_artifacts(run_id)}
    evaluated = made.runs[f"evaluate@{task}"].data.metrics
    assert {"real/mean", "dream/mean", "random/mean", "dream_to_real_gap"} <= set(evaluated)
    run_id = made.runs[f"controller@{task}"].info.run_id
    history = made.client.get_metric_history(run_id, "population_mean")
    assert [metric.step for metric in history] == GENERATIONS[task]


def test_nothing_but_reports_and_the_lock_is_left_for_git(project):
    assert run(project.path, "git", "status", "--porcelain").stdout == ""
    committed = run(project.path, "git", "show", "--format=", "--name-only", "HEAD").stdout
    reports = {f"reports/{task}/{name}" for task in project.tasks for name in REPORTS}
    new = {path for path in committed.splitlines() if not path.endswith(".gitignore")}
    assert new == {"dvc.lock", "reports/results/README.md", *reports}
    assert not list(project.path.rglob(".part-*"))


def test_a_second_repro_runs_nothing(games):
    assert "Data and pipelines are up to date." in dvc(games.path, "repro")


def test_a_changed_parameter_runs_again_what_reads_it_and_nothing_else(games):
    before = (games.path / "params.yaml").read_text()
    try:
        change_parameters(games.path, "smoke.takecover.controller", {"sigma": 0.2})
        planned = dvc(games.path, "repro", "--dry")
    finally:
        (games.path / "params.yaml").write_text(before)
    again = set(re.findall(r"Running stage '(\S+)'", planned))
    # What comes after it runs again where its outputs change; a dry run can't tell.
    assert again == {"controller@takecover"}


def test_the_gate_makes_an_agent_the_champion_that_can_be_taken_out_again(
    pendulum, monkeypatch, capsys
):
    enter(pendulum.path, monkeypatch)
    with pytest.raises(SystemExit) as exit_:
        cli.main(["gate", "pendulum", "--update"])
    said = capsys.readouterr()
    assert exit_.value.code == 0
    assert "pendulum: version 1 is the champion" in said.err
    assert "+0.0 [+0.0, +0.0] | no worse" in said.out
    evaluate = ["evaluate", "pendulum", "--episodes", "10", "--lanes", "2", "--workers", "1"]
    cli.main([*evaluate, "--model", "champion"])
    scores = json.loads((pendulum.path / "reports" / "pendulum" / "scores.json").read_text())
    found = json.loads(capsys.readouterr().out)
    assert found["mean"] == pytest.approx(scores["real"]["mean"], abs=0.01)
    with pytest.raises(SystemExit, match="world-models-pendulum: no version '7'"):
        cli.main([*evaluate, "--model", "7"])
