"""The whole pipeline at its smallest scale: every task, from nothing to scores."""

import csv
import hashlib
import json
import re
import sys

import pytest
import yaml
from imageio_ffmpeg import count_frames_and_secs
from mlflow import MlflowClient
from PIL import Image

from tests.projects import dvc, make_project, run
from world_models.seeds import TEST

EPISODES = {"pendulum": 40, "carracing": 2, "takecover": 2}
"""How many the agents are scored on; Pendulum's are enough for the gate."""
TASKS = list(EPISODES)
STAGES = ["collect", "vae", "encode", "rnn", "honesty", "controller", "evaluate", "pipeline"]
REPORTS = [
    *("collect.json", "vae.json", "rnn.json", "honesty.json", "controller.json", "scores.json"),
    *("generations.csv", "returns.csv"),
]
every_task = pytest.mark.parametrize("task", TASKS)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A fresh project in which `dvc repro` has run."""
    project = tmp_path_factory.mktemp("a project")
    make_project(project, TASKS)
    dvc(project, "repro")
    return project


@pytest.fixture(scope="module")
def runs(project):
    """Every MLflow run, by its name."""
    client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("world-models")
    found = client.search_runs([experiment.experiment_id], max_results=100)
    return {run.info.run_name: run for run in found}, client


@every_task
def test_agents_are_scored_in_the_real_world_in_the_dream_and_at_random(project, task):
    scores = json.loads((project / "reports" / task / "scores.json").read_text())
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


@every_task
def test_each_episodes_return_is_there_to_be_plotted(project, task):
    scores = json.loads((project / "reports" / task / "scores.json").read_text())
    rows = table(project / "reports" / task / "returns.csv")
    assert [int(row["seed"]) for row in rows] == list(TEST[: EPISODES[task]])
    for kind in ("real", "dream", "random"):
        mean = sum(float(row[kind]) for row in rows) / len(rows)
        assert mean == pytest.approx(scores[kind]["mean"], abs=0.01)
    generations = table(project / "reports" / task / "generations.csv")
    assert [row["generation"] for row in generations] == ["1", "2"]
    assert all(row["real_mean"] and row["dream_mean"] for row in generations)


@every_task
def test_there_is_something_to_see(project, task):
    frames, _ = count_frames_and_secs(project / "reports" / task / "agent.mp4")
    assert frames == 20
    with Image.open(project / "reports" / task / "reconstructions.png") as picture:
        assert picture.width > picture.height > 128


@every_task
def test_losses_and_honesty_are_reported(project, task):
    reports = project / "reports" / task
    vae, rnn, honesty = (
        json.loads((reports / f"{name}.json").read_text()) for name in ("vae", "rnn", "honesty")
    )
    assert {"validation/reconstruction", "validation/kl"} <= set(vae)
    assert "validation/nll" in rnn
    assert ("validation/reward_error" in rnn) == (task != "takecover")
    done_figures = {"validation/done_precision", "validation/done_recall"}
    assert (done_figures <= set(rnn)) == (task != "pendulum")
    for policy in ("collection", "still"):
        assert honesty[f"{policy}_disagreement"] >= 0
        for world in ("dream", "real"):
            assert honesty[f"{policy}_{world}_survival"] > 0
            assert f"{policy}_{world}_return" in honesty


def test_every_stage_has_a_finished_run_with_parameters_metrics_and_its_origin(project, runs):
    found, _ = runs
    assert sorted(found) == sorted(f"{stage}@{task}" for stage in STAGES for task in TASKS)
    revision = run(project, "git", "rev-parse", "HEAD").stdout.strip()
    for name, logged in found.items():
        assert logged.info.status == "FINISHED", name
        assert logged.data.params, name
        assert logged.data.metrics, name
        assert logged.data.tags["dvc.stage"] == name
        assert logged.data.tags["git_revision"] == revision
    keys = {logged.data.tags["dvc.stage_key"] for logged in found.values()}
    assert len(keys) == len(found)
    assert keys == {path.name for path in (project / ".dvc" / "cache" / "runs").glob("*/*")}


@every_task
def test_a_run_names_what_it_read_and_what_it_wrote(project, runs, task):
    found, _ = runs
    tags = found[f"rnn@{task}"].data.tags
    vae = f"models/{task}/vae.safetensors"
    assert tags[f"input.{vae}"] == hashlib.md5((project / vae).read_bytes()).hexdigest()
    assert tags[f"input.data/{task}/latents"].endswith(".dir")
    rnn = f"models/{task}/rnn.safetensors"
    assert tags[f"output.{rnn}"] == hashlib.md5((project / rnn).read_bytes()).hexdigest()
    (read,) = found[f"rnn@{task}"].inputs.dataset_inputs
    assert read.dataset.name == f"data/{task}/latents"
    assert read.dataset.digest == tags[f"input.data/{task}/latents"]


@every_task
def test_one_run_names_those_of_all_stages_and_carries_the_scores(runs, task):
    found, client = runs
    pipeline = found[f"pipeline@{task}"]
    for stage in STAGES[:-1]:
        assert pipeline.data.tags[f"run.{stage}"] == found[f"{stage}@{task}"].info.run_id
    scored = found[f"evaluate@{task}"].data.metrics
    assert pipeline.data.metrics["real/mean"] == pytest.approx(scored["real/mean"], abs=0.01)
    assert {"vae/validation/loss", "rnn/validation/nll"} <= set(pipeline.data.metrics)
    assert {"vae.batches", "dream.temperature"} <= set(pipeline.data.params)
    (version,) = client.search_model_versions(f"name = 'world-models-{task}'")
    assert version.run_id == pipeline.info.run_id
    assert float(version.tags["real_mean"]) == pytest.approx(pipeline.data.metrics["real/mean"])


def test_the_gate_makes_an_agent_the_champion_that_can_be_taken_out_again(project):
    gate = [sys.executable, "-m", "world_models.cli", "gate", "pendulum"]
    done = run(project, *gate, "--update")
    assert "pendulum: version 1 is the champion" in done.stderr
    assert "+0.0 [+0.0, +0.0] | no worse" in done.stdout
    evaluate = [sys.executable, "-m", "world_models.cli", "evaluate", "pendulum"]
    done = run(project, *evaluate, "--model", "champion", "--episodes", "40")
    scores = json.loads((project / "reports" / "pendulum" / "scores.json").read_text())
    assert json.loads(done.stdout)["mean"] == pytest.approx(scores["real"]["mean"], abs=0.01)
    done = run(project, *evaluate, "--model", "7", expected=1)
    assert "world-models-pendulum: no version '7'" in done.stderr
    (project / "baselines" / "pendulum.json").unlink()


@every_task
def test_runs_hold_their_checkpoints_pictures_videos_and_scores(runs, task):
    found, client = runs
    for stage, files in {
        "vae": {"vae.safetensors", "reconstructions.png", "vae.json"},
        "rnn": {"rnn.safetensors", "rnn.json"},
        "controller": {"controller.safetensors", "generations.csv", "controller.json"},
        "evaluate": {"scores.json", "returns.csv", "agent.mp4"},
    }.items():
        run_id = found[f"{stage}@{task}"].info.run_id
        assert files <= {artifact.path for artifact in client.list_artifacts(run_id)}
    evaluated = found[f"evaluate@{task}"].data.metrics
    assert {"real/mean", "dream/mean", "random/mean", "dream_to_real_gap"} <= set(evaluated)
    history = client.get_metric_history(found[f"controller@{task}"].info.run_id, "population_mean")
    assert [metric.step for metric in history] == [1, 2]


def test_nothing_but_reports_and_the_lock_is_left_for_git(project):
    assert (project / "dvc.lock").exists()
    status = run(project, "git", "status", "--porcelain", "--untracked-files=all").stdout
    new = {line[3:] for line in status.splitlines()}
    reports = {f"reports/{task}/{name}" for task in TASKS for name in REPORTS}
    assert {path for path in new if not path.endswith(".gitignore")} == {"dvc.lock", *reports}
    assert not list(project.rglob(".part-*"))


def test_a_second_repro_runs_nothing(project):
    assert "Data and pipelines are up to date." in dvc(project, "repro")


def test_a_changed_parameter_runs_again_what_reads_it_and_nothing_else(project):
    before = (project / "params.yaml").read_text()
    contents = yaml.safe_load(before)
    contents["smoke"]["pendulum"]["controller"] = contents["smoke"]["pendulum"]["controller"] | {
        "sigma": 0.2
    }
    try:
        (project / "params.yaml").write_text(yaml.safe_dump(contents))
        planned = dvc(project, "repro", "--dry")
    finally:
        (project / "params.yaml").write_text(before)
    again = set(re.findall(r"Running stage '(\S+)'", planned))
    # What comes after it runs again where its outputs change; a dry run can't tell. The run that
    # names those of all stages names their parameters too.
    assert again == {"controller@pendulum", "pipeline@pendulum"}
