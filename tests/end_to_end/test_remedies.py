"""A file that is lost or damaged is named with a command, which brings it back."""

import re
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import pytest

from tests.projects import dvc, enter
from tests.stages import run_here, said_here, stay_as_it_is
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
encode = partial(run_here, "encode", "pendulum")
READ = {
    "collect": encode,
    "encode": partial(run_here, "rnn", "pendulum"),
    "vae": encode,
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
    with pytest.MonkeyPatch.context() as patch:
        enter(project, patch)
        said_here(cli.main, "gate", "pendulum", "--update")
    return project


@pytest.fixture
def project(made, monkeypatch):
    """The folder that a test runs in, and its stages track nothing."""
    monkeypatch.chdir(made)
    stay_as_it_is(monkeypatch)
    return made


def cut_short(file: Path) -> None:
    """What a full disk leaves."""
    content = file.read_bytes()
    file.unlink()  # it may be a link
    file.write_bytes(content[: len(content) // 2] + b"\xff")


def harmed(stage: str, harm: Callable[[Path], None]) -> tuple[str, str]:
    """What is said by who reads a stage's files when they are harmed, and the command that it
    names; they are whole again then."""
    whole = {Path(name): Path(name).read_bytes() for name in MADE[stage]}
    for file in whole:
        harm(file)
    said = str(READ[stage]())
    for file, content in whole.items():
        file.unlink(missing_ok=True)
        file.write_bytes(content)
    (remedy,) = re.findall("`([^`]+)`", said)
    return said, remedy


@every_stage
def test_what_is_lost_is_named_with_the_stage_that_makes_it(project, stage):
    said, remedy = harmed(stage, Path.unlink)
    assert f"{MADE[stage][0]}: missing; " in said
    made_by = {"controller": "evaluate"}.get(stage, stage)  # an agent has to be scored too
    assert remedy == f"dvc repro {made_by}@pendulum"


@every_stage
def test_what_is_damaged_is_named_with_a_command_that_makes_it_again(project, stage):
    said, remedy = harmed(stage, cut_short)
    assert f"{MADE[stage][0]}: damaged" in said
    assert remedy == f"dvc repro --force --single-item {stage}@pendulum"


@pytest.mark.parametrize(
    ("harm", "options", "stages"),
    [
        (Path.unlink, [], [*MADE]),
        # A folder, and files that DVC doesn't keep; test_kill.py has all others made again.
        (cut_short, ["--force", "--single-item"], ["encode", "evaluate"]),
    ],
    ids=["lost", "damaged"],
)
def test_these_commands_bring_the_files_back(project, harm, options, stages):
    """All at once."""
    whole = {Path(name): Path(name).read_bytes() for stage in stages for name in MADE[stage]}
    for file in whole:
        harm(file)
    dvc(project, "repro", *options, *(f"{stage}@pendulum" for stage in stages))
    assert {file: file.read_bytes() for file in whole} == whole
    assert {read() for read in {READ[stage] for stage in stages}} == {0}
