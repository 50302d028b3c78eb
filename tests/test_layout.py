"""Where a round's files lie, which stage makes each, and what that says of a file at fault."""

from itertools import chain
from pathlib import Path

import pytest
import yaml

from tests.configs import PARAMS
from world_models.layout import AgentFiles, RoundFiles, SweepFiles, explain, maker, repro
from world_models.params import round_names
from world_models.runtime.errors import CheckpointError, ConfigError, ScoresError, StoreError

ROUNDS = ["carracing", "takecover", "takecover-game"]


def test_a_rounds_files_lie_in_its_folders():
    files = RoundFiles("takecover-game")
    assert files.episodes == Path("data/takecover-game/episodes")
    assert files.latents == Path("data/takecover-game/latents")
    models = Path("models/takecover-game")
    names = ("vae", "rnn", "controller", "starts")
    assert [*files.agent] == [models / f"{name}.safetensors" for name in names]
    assert files.agent == AgentFiles.of(models) == AgentFiles.of(str(models))
    assert files.report("scores.json") == Path("reports/takecover-game/scores.json")


def test_a_sweeps_c_lies_outside_every_folder_that_a_later_round_depends_on():
    files, round_ = SweepFiles("takecover", "temperature/1.15"), RoundFiles("takecover")
    controller = Path("sweeps/takecover/temperature/1.15/controller.safetensors")
    assert files.agent == round_.agent._replace(controller=controller)
    assert files.latents == round_.latents
    assert files.report("scores.json") == Path("reports/takecover/temperature/1.15/scores.json")


def test_an_agents_further_cs_lie_beside_it_or_are_of_the_sweep(tmp_path):
    released, trained = (AgentFiles.of(tmp_path / at / "takecover") for at in ("all", "models"))
    assert released.bred == trained.bred == {}
    swept = tmp_path / "sweeps" / "takecover" / "temperature"
    files = [
        tmp_path / "all" / "takecover" / "controllers" / "tau-0.1.safetensors",
        swept / "own-1.15" / "controller.safetensors",
        swept / "others-1.15" / "controller.safetensors",  # not in its own dreams
    ]
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch()
    assert released.bred == {"tau-0.1": files[0], "tau-1.15": files[1]}
    assert trained.bred == {"tau-1.15": files[1]}


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("data/carracing/episodes", "collect@carracing"),
        ("data/takecover-game/latents", "encode@takecover-game"),
        ("models/takecover/vae.safetensors", "vae@takecover"),
        ("models/takecover/rnn.safetensors", "rnn@takecover"),
        ("models/takecover/starts.safetensors", "encode@takecover"),
        ("models/takecover/controller.safetensors", "controller@takecover"),
        ("reports/carracing/scores.json", "evaluate@carracing"),
        ("reports/carracing/returns.csv", "evaluate@carracing"),
        ("sweeps/takecover/temperature/0.1/controller.safetensors", None),
        ("sweeps/takecover/inputs/latent/controller.safetensors", None),
        ("models/takecover/temperature/0.1/controller.safetensors", None),
        ("reports/takecover/temperature/0.1/scores.json", None),
        ("agent/vae.safetensors", None),
        ("/tmp/world-models-x/agent/vae.safetensors", None),
        ("/home/somebody/models/takecover/vae.safetensors", None),
        ("models/takecover/other.safetensors", None),
        ("models/takecover", None),
        ("data/carracing", None),
        ("baselines/carracing.json", None),
    ],
)
def test_a_file_is_made_by_a_stage_or_by_none(path, stage):
    assert maker(Path(path)) == stage


def test_what_is_made_by_a_stage_is_an_output_of_that_stage_in_dvc_yaml():
    stages = yaml.safe_load(PARAMS.with_name("dvc.yaml").read_text())["stages"]
    files = RoundFiles("${key}")
    paths = [files.episodes, files.latents, *files.agent]
    paths += [files.report(name) for name in ("scores.json", "returns.csv")]
    for path in paths:
        name, _, round_ = str(maker(path)).partition("@")
        entry = stages[name]["do"]
        listed = chain.from_iterable(entry.get(kind, []) for kind in ("outs", "metrics", "plots"))
        outputs = [out if isinstance(out, str) else next(iter(out)) for out in listed]
        assert (round_, str(path) in outputs) == ("${key}", True), path


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            CheckpointError(Path("models/takecover/vae.safetensors"), "missing"),
            "`dvc repro vae@takecover` makes it",
        ),
        (
            CheckpointError(Path("models/takecover/vae.safetensors"), "damaged (what?)"),
            "`dvc repro --force --single-item vae@takecover` makes it again",
        ),
        (
            CheckpointError(Path("models/takecover-game/rnn.safetensors"), "made for latents of 3"),
            "`dvc repro --force --single-item rnn@takecover-game` makes it again",
        ),
        (
            StoreError(Path("data/carracing/episodes"), "missing: it holds no shards"),
            "`dvc repro collect@carracing` makes it",
        ),
        (
            StoreError(Path("data/carracing/episodes/shard-00003.zarr.zip"), "missing"),
            "`dvc repro collect@carracing` makes it",
        ),
        (
            StoreError(Path("data/carracing/latents/shard-00003.zarr.zip"), "damaged (bad zip)"),
            "`dvc repro --force --single-item encode@carracing` makes it again",
        ),
        (
            ScoresError(Path("reports/carracing/scores.json"), "missing"),
            "`dvc repro evaluate@carracing` makes it",
        ),
    ],
)
def test_a_file_at_fault_is_explained_with_what_makes_it(error, remedy):
    assert explain(error, ROUNDS) == f"{error}; {remedy}"


def test_a_task_that_is_no_round_yet_has_to_become_one_first():
    error = CheckpointError(Path("models/pendulum/vae.safetensors"), "missing")
    added = "with pendulum added to rounds in params.yaml"
    assert explain(error, ROUNDS) == f"{error}; {added}, `dvc repro vae@pendulum` makes it"
    assert explain(error, [*ROUNDS, "pendulum"]) == f"{error}; `dvc repro vae@pendulum` makes it"


@pytest.mark.parametrize(
    "error",
    [
        CheckpointError(Path("sweeps/takecover/temperature/0.1/controller.safetensors"), "missing"),
        CheckpointError(Path("agent/vae.safetensors"), "missing"),
        CheckpointError(Path("models/nobody/vae.safetensors"), "missing"),
        CheckpointError(Path("models/takecover-2/vae.safetensors"), "damaged"),
        StoreError(Path("elsewhere/shard-00003.zarr.zip"), "missing"),
        ScoresError(Path("reports/pong/scores.json"), "missing"),
        ConfigError("scale: no such thing"),
    ],
)
def test_no_stage_is_invented(error):
    assert explain(error, ROUNDS) == str(error)
    assert repro(None, ROUNDS, "makes it") == ""


def test_an_explanation_is_one_line():
    error = CheckpointError(Path("models/carracing/vae.safetensors"), "damaged (one\n  two)")
    assert explain(error, ROUNDS).startswith(
        "models/carracing/vae.safetensors: damaged (one two); `dvc repro "
    )


def test_the_committed_rounds_have_stages_to_name():
    for round_ in round_names(PARAMS):
        error = CheckpointError(RoundFiles(round_).model("vae"), "missing")
        assert explain(error, round_names(PARAMS)).endswith(f"`dvc repro vae@{round_}` makes it")
