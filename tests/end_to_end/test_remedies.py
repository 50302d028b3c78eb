"""A file that is lost or damaged is named with a command, which brings it back."""

import re
import sys
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import pytest

from tests.projects import run
from tests.stages import run_here, stay_as_it_is
from world_models import cli


def score() -> object:
    """How `world-models evaluate` exits: a line, or 0."""
    try:
        cli.main(["evaluate", "pendulum", "--episodes", "2", "--workers", "1"])
    except SystemExit as exit_:
        return exit_.code
    return 0


def gate() -> object:
    """What the gate says where it can't tell, or 0."""
    with redirect_stdout(StringIO()) as said, pytest.raises(SystemExit) as exit_:
        cli.main(["gate", "pendulum"])
    return said.getvalue() if exit_.value.code == 2 else exit_.value.code


MADE = {
    "collect": ["data/pendulum/episodes/shard-00001.zarr.zip"],
    "encode": ["data/pendulum/latents/shard-00001.zarr.zip"],
    "vae": ["models/pendulum/vae.safetensors"],
    "rnn": ["models/pendulum/rnn.safetensors"],
    "controller": ["models/pendulum/controller.safetensors"],
    "evaluate": ["reports/pendulum/scores.json", "reports/pendulum/returns.csv"],
}
"""Files, by the stage that makes them."""
READ = {
    "collect": partial(run_here, "encode", "pendulum"),
    "encode": partial(run_here, "rnn", "pendulum"),
    "vae": partial(run_here, "encode", "pendulum"),
    "rnn": partial(run_here, "fidelity", "pendulum"),
    "controller": score,
    "evaluate": gate,
}
"""By the same, who reads them."""
every_stage = pytest.mark.parametrize("stage", MADE)


@pytest.fixture(scope="module")
def made(copy):
    """The finished project, with a baseline for the gate."""
    project = copy()
    run(project, sys.executable, "-m", "world_models.cli", "gate", "pendulum", "--update")
    return project


@pytest.fixture
def project(made, monkeypatch):
    """The folder that a test runs in, and its stages track nothing."""
    monkeypatch.chdir(made)
    stay_as_it_is(monkeypatch)
    return made


def follow(project, said):
    """Runs what stands between backticks, and returns it."""
    (remedy,) = re.findall("`([^`]+)`", said)
    run(project, sys.executable, "-m", *remedy.split())
    return remedy


@every_stage
def test_what_is_lost_comes_back(project, stage):
    whole = {Path(name): Path(name).read_bytes() for name in MADE[stage]}
    for file in whole:
        file.unlink()
    said = READ[stage]()
    assert f"{MADE[stage][0]}: missing; " in said
    made_by = {"controller": "evaluate"}.get(stage, stage)  # an agent has to be scored too
    assert follow(project, said) == f"dvc repro {made_by}@pendulum"
    assert {file: file.read_bytes() for file in whole} == whole
    assert READ[stage]() == 0


@every_stage
def test_what_is_damaged_is_made_again(project, stage):
    whole = {Path(name): Path(name).read_bytes() for name in MADE[stage]}
    for file, content in whole.items():
        file.unlink()  # it may be a link
        file.write_bytes(content[: len(content) // 2] + b"\xff")
    said = READ[stage]()
    assert f"{MADE[stage][0]}: damaged" in said
    assert follow(project, said) == f"dvc repro --force --single-item {stage}@pendulum"
    assert {file: file.read_bytes() for file in whole} == whole
    assert READ[stage]() == 0
