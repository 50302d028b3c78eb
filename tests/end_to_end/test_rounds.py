"""A later round: stages of its own, which go on from those of the round before."""

import csv
import json
import sys

import imageio.v2 as imageio
import pytest
import torch

from tests.projects import change_parameters, commit, dvc, run, status, store
from world_models import cli
from world_models.controller.checkpoint import load_controllers
from world_models.data.store import EpisodeStore
from world_models.layout import RoundFiles, explain
from world_models.rnn.checkpoint import load_rnn
from world_models.runtime.errors import StoreError
from world_models.vae.checkpoint import load_vae

STAGES = ("collect", "vae", "encode", "rnn", "fidelity", "controller", "evaluate", "register")
ROUND = "swing-up"
"""It has a name of its own, which nothing but params.yaml says a task of."""


def declare(project, name, after):
    """Names a round of pendulum in params.yaml."""
    round_ = {"task": "pendulum", "after": after, "settings": "pendulum.later"}
    change_parameters(project, "rounds", {name: round_})


def ran(said):
    """The stages that dvc has run."""
    return [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]


@pytest.fixture(scope="module")
def made(copy):
    """A project that has gone on to a second round, and what dvc said of that."""
    project = copy()
    declare(project, ROUND, "pendulum")
    change_parameters(project, "compare_rounds", {"rounds": [ROUND]})
    change_parameters(project, "smoke.pendulum.later.evaluate", {"episodes": 2})
    return project, dvc(project, "repro")


@pytest.fixture
def project(made, monkeypatch):
    """Its folder, in which a test runs: paths are relative to it."""
    monkeypatch.chdir(made[0])
    return made[0]


@pytest.fixture
def rounds(project):
    """The files of both rounds."""
    return RoundFiles("pendulum"), RoundFiles(ROUND)


def test_a_round_runs_its_own_stages_and_none_of_the_earlier_ones(made):
    project, said = made
    assert sorted(ran(said)) == sorted(f"{stage}@{ROUND}" for stage in [*STAGES, "compare_rounds"])
    before = (project / "params.yaml").read_text()
    try:
        declare(project, "pendulum-3", ROUND)
        due = status(project)
    finally:
        (project / "params.yaml").write_text(before)
    assert sorted(due) == sorted(f"{stage}@pendulum-3" for stage in STAGES)


def test_the_data_set_holds_all_rounds_and_says_who_played(rounds):
    episodes = EpisodeStore(rounds[1].episodes).episodes()
    assert [at.round for at in episodes] == ["pendulum"] * 6 + [ROUND] * 4
    assert {at.policy for at in episodes[:6]} == {"held"}
    assert {at.policy for at in episodes[6:]} <= {"agent", "neighbour"}
    assert len({at.seed for at in episodes}) == 10


def test_a_v_that_stays_as_it_is_leaves_the_latents_as_they_are(rounds):
    first, second = rounds
    assert second.model("vae").read_bytes() == first.model("vae").read_bytes()
    for shard in EpisodeStore(first.latents).shards:
        assert (second.latents / shard.name).read_bytes() == shard.read_bytes()
    assert len(EpisodeStore(second.latents).shards) == 8


def test_m_and_c_go_on_from_the_round_before(rounds):
    size = load_vae(rounds[0].model("vae")).sizes.latent_size
    rnns = [load_rnn(files.model("rnn"), size, 1) for files in rounds]
    weights = [rnn.heads.weight for rnn in rnns]
    moved = (weights[1] - weights[0]).abs().max()
    assert 0 < moved < 0.03  # a fresh M's are up to 0.09 apart
    first, second = (
        load_controllers(files.model("controller"), rnns[0]).parameters for files in rounds
    )
    assert (second != first).any()
    # Rounds draw numbers of their own: from zeros, C would go another way than in the first.
    assert torch.cosine_similarity(first, second).item() > 0.4


def test_a_round_keeps_the_c_before_it_where_evolution_finds_no_better(rounds):
    with rounds[1].report("generations.csv").open() as file:
        tried = {int(row["generation"]): float(row["real_mean"]) for row in csv.DictReader(file)}
    assert list(tried) == [0, 1, 2, 3, 4]
    kept = json.loads(rounds[1].report("controller.json").read_text())
    assert (kept["kept_generation"], kept["real_mean"]) == max(
        tried.items(), key=lambda pair: pair[1]
    )


def test_its_agent_is_scored_by_the_rounds_name(rounds, capsys):
    cli.main(["evaluate", ROUND, "--episodes", "2", "--lanes", "1", "--workers", "1"])
    again = json.loads(capsys.readouterr().out)
    scores = json.loads(rounds[1].report("scores.json").read_text())
    assert again["mean"] == pytest.approx(scores["real"]["mean"], abs=0.01)


def test_the_dream_is_held_against_the_game_where_nothing_is_done(rounds):
    """What the agent does hangs on M, so it can't be played in both."""
    first, second = (json.loads(files.report("fidelity.json").read_text()) for files in rounds)
    assert {key.partition("_")[0] for key in first} == {"collection", "still"}
    assert {key.partition("_")[0] for key in second} == {"still"}


def test_a_round_has_its_scores_and_its_runs(project, rounds):
    reports = rounds[1]
    scores = json.loads(reports.report("scores.json").read_text())
    assert {"real", "dream", "random"} <= set(scores)
    assert json.loads(reports.report("collect.json").read_text())["episodes"] == 4
    client = store(project)
    (experiment,) = client.search_experiments(filter_string="name = 'world-models'")
    of_round = client.search_runs([experiment.experiment_id], f"tags.round = '{ROUND}'")
    names = {f"{stage}@{ROUND}" for stage in [*STAGES, "compare_rounds"]}
    assert {run.info.run_name for run in of_round} == names
    versions = client.search_model_versions("name = 'world-models-pendulum'")
    assert {version.tags["round"] for version in versions} == {"pendulum", ROUND}


def test_a_round_is_held_beside_those_before_it(rounds):
    with rounds[1].report("rounds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["round"] for row in rows] == ["pendulum", ROUND]
    for row in rows:
        scores = json.loads(RoundFiles(row["round"]).report("scores.json").read_text())
        assert float(row["real_mean"]) == scores["real"]["mean"]
    film = imageio.get_reader(rounds[1].report("rounds.mp4"))
    assert film.count_frames() == 20
    width, height = film.get_meta_data()["size"]
    assert width > 2 * height  # two games, and a line between them


def test_a_lost_shard_of_an_earlier_round_is_named_with_a_stage_that_makes_it_again(
    project, rounds
):
    lost = EpisodeStore(rounds[1].episodes).shards[0]
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(StoreError, match="missing") as caught:
        EpisodeStore(rounds[1].episodes)
    remedy = explain(caught.value, ["pendulum", ROUND]).split("`")[1]
    assert remedy.split()[-1] == f"collect@{ROUND}"
    run(project, sys.executable, "-m", *remedy.split())
    assert lost.read_bytes() == content


@pytest.fixture(scope="module")
def clone(made, tmp_path_factory):
    """A fresh clone that knows a remote to which all was pushed."""
    project, folder = made[0], tmp_path_factory.mktemp("clone")
    dvc(project, "remote", "add", "--default", "storage", str(folder / "storage"))
    dvc(project, "push")
    commit(project, "Two rounds")
    run(folder, "git", "clone", "--quiet", str(project), "clone")
    return folder / "clone"


def faults(due):
    """What dvc finds of the files and parameters of each stage."""
    for found in due.values():
        for fault in found:
            assert isinstance(fault, dict), found
            for files in fault.values():
                yield from files.items()


def test_in_a_clone_files_are_missing_but_nothing_has_changed(clone):
    found = list(faults(status(clone)))
    assert {fault for _, fault in found} <= {"deleted", "not in cache"}
    folders = {"data/pendulum", f"data/{ROUND}/episodes", "models/pendulum"}
    assert folders <= {path for path, _ in found}
    assert not {"data/nothing", "models/nothing"} & {path for path, _ in found}


def test_a_clone_runs_nothing_and_has_equal_files(made, clone):
    said = dvc(clone, "repro", "--pull")
    assert ran(said) == []
    assert status(clone) == {}
    assert run(clone, "git", "status", "--porcelain").stdout == ""
    assert not (clone / "mlflow.db").exists()
    for folder in ("data", "models", "reports"):
        files = {path.relative_to(made[0]) for path in (made[0] / folder).rglob("*.*")}
        for file in files:
            assert (clone / file).is_dir() or (clone / file).read_bytes() == (
                made[0] / file
            ).read_bytes()
