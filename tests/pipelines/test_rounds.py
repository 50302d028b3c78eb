"""Rounds after the first: stages of their own, which go on from those of the round before."""

import csv
import json

import imageio.v2 as imageio
import pytest
import torch
from mlflow import MlflowClient

from tests.early import change_parameters, take_early_stages_for_done
from tests.projects import commit, dvc, make_project
from world_models.data.store import EpisodeStore
from world_models.errors import StoreError
from world_models.models.checkpoint import load_controllers, load_rnn

STAGES = ("collect", "vae", "encode", "rnn", "controller", "evaluate", "pipeline", "loop")


def declare(project, number):
    """Names a round of pendulum in params.yaml."""
    before = "pendulum" if number == 2 else f"pendulum-{number - 1}"
    change_parameters(
        project, ["rounds"], {f"pendulum-{number}": {"task": "pendulum", "after": before}}
    )


def ran(said):
    """The stages that dvc has run."""
    return [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose first round is made, and committed."""
    project = tmp_path_factory.mktemp("project")
    make_project(project, ["pendulum"])
    tried = {"temperatures": [0.7, 1.3], "trial_generations": 1, "trial_episodes": 2}
    change_parameters(project, ["smoke", "pendulum", "again", "dream"], tried)
    take_early_stages_for_done(project)
    dvc(project, "repro")
    commit(project, "One round")
    return project


@pytest.fixture(scope="module")
def said(project):
    """What dvc said as it ran the second round."""
    declare(project, 2)
    return dvc(project, "repro")


def test_a_round_runs_its_own_stages_and_none_of_the_earlier_ones(project, said):
    assert sorted(ran(said)) == sorted(f"{stage}-again@pendulum-2" for stage in STAGES)
    declare(project, 3)
    due = json.loads(dvc(project, "status", "--json"))
    assert sorted(due) == sorted(f"{stage}-again@pendulum-3" for stage in STAGES)


def test_the_data_set_holds_all_rounds_and_says_who_played(project, said):
    episodes = EpisodeStore(project / "data" / "pendulum-2" / "episodes").episodes()
    assert [at.round for at in episodes] == ["pendulum"] * 4 + ["pendulum-2"] * 4
    assert {at.policy for at in episodes[:4]} == {"held"}
    assert {at.policy for at in episodes[4:]} <= {"agent", "neighbour"}
    assert len({at.seed for at in episodes}) == 8


def test_a_v_that_stays_as_it_is_leaves_the_latents_as_they_are(project, said):
    """Those that are here were never made by this V: encoded anew, they would be others."""
    first, second = (project / "data" / name / "latents" for name in ("pendulum", "pendulum-2"))
    vaes = [project / "models" / name / "vae.safetensors" for name in ("pendulum", "pendulum-2")]
    assert vaes[1].read_bytes() == vaes[0].read_bytes()
    for shard in EpisodeStore(first).shards:
        assert (second / shard.name).read_bytes() == shard.read_bytes()
    assert len(EpisodeStore(second).shards) == 4


def test_m_and_c_go_on_from_the_round_before(project, said):
    rnns = [
        load_rnn(project / "models" / name / "rnn.safetensors", 16, 1)
        for name in ("pendulum", "pendulum-2")
    ]
    weights = [rnn.heads.weight for rnn in rnns]
    moved = (weights[1] - weights[0]).abs().max()
    assert 0 < moved < 0.03  # a fresh M's are up to 0.09 apart
    first, second = (
        load_controllers(project / "models" / name / "controller.safetensors", rnns[0]).parameters
        for name in ("pendulum", "pendulum-2")
    )
    assert (second != first).any()
    # Rounds draw numbers of their own: from zeros, C would go another way than in the first.
    assert torch.cosine_similarity(first, second).item() > 0.4


def test_a_round_keeps_the_c_before_it_where_evolution_finds_no_better(project, said):
    reports = project / "reports" / "pendulum-2"
    with (reports / "generations.csv").open() as file:
        tried = {int(row["generation"]): float(row["real_mean"]) for row in csv.DictReader(file)}
    assert list(tried) == [0, 1, 2]
    kept = json.loads((reports / "controller.json").read_text())
    assert (kept["kept_generation"], kept["real_mean"]) == max(
        tried.items(), key=lambda pair: pair[1]
    )


def test_a_round_has_its_scores_and_its_runs(project, said):
    reports = project / "reports" / "pendulum-2"
    assert {"real", "dream", "random"} <= set(json.loads((reports / "scores.json").read_text()))
    assert json.loads((reports / "collect.json").read_text())["episodes"] == 4
    client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'world-models'")
    of_round = client.search_runs([experiment.experiment_id], "tags.round = 'pendulum-2'")
    assert {run.info.run_name for run in of_round} == {f"{s}-again@pendulum-2" for s in STAGES}
    versions = client.search_model_versions("name = 'world-models-pendulum'")
    assert {version.tags["round"] for version in versions} == {"pendulum", "pendulum-2"}


def test_a_round_is_held_beside_those_before_it(project, said):
    reports = project / "reports"
    with (reports / "pendulum-2" / "loop.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["round"] for row in rows] == ["pendulum", "pendulum-2"]
    for row in rows:
        scores = json.loads((reports / row["round"] / "scores.json").read_text())
        assert float(row["real_mean"]) == scores["real"]["mean"]
    film = imageio.get_reader(reports / "pendulum-2" / "loop.mp4")
    assert film.count_frames() == 20
    width, height = film.get_meta_data()["size"]
    assert width > 2 * height  # two games, and a line between them


def test_the_temperature_is_that_of_the_trial_that_did_best_in_the_game(project, said):
    told = json.loads((project / "reports" / "pendulum-2" / "controller.json").read_text())
    trials = {tau: told[f"trial_{tau}_real_mean"] for tau in (0.7, 1.3)}
    assert told["temperature"] == max(trials, key=trials.get)
    assert [told[f"trial_{tau}_real_steps"] for tau in (0.7, 1.3)] == [400, 400]


def test_a_lost_shard_of_an_earlier_round_is_named_with_a_stage_that_makes_it_again(project, said):
    folder = project / "data" / "pendulum-2" / "episodes"
    lost = EpisodeStore(folder).shards[0]
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(StoreError, match="missing; make it again with") as caught:
        EpisodeStore(folder)
    stage = str(caught.value).split("`")[1].split()[-1]
    assert stage == "collect-again@pendulum-2"
    dvc(project, "repro", "--force", "--single-item", stage)
    assert lost.read_bytes() == content
