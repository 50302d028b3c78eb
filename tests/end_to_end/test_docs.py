"""The commands of README and docs, in a project whose pipeline has run.

They run as they stand, but for names: its scale is smoke, and its one game Pendulum.
"""

import re
import subprocess

import pytest

from tests.docs.blocks import ALL
from tests.projects import ROOT, enter, environment, store
from tests.stages import said_here
from world_models import cli

NAMES = {r"\bsmall\.": "smoke.", r"\b(carracing(-2)?|takecover)\b": "pendulum"}
PAGE = ROOT / "docs" / "reference" / "mlflow.md"


def translated(text):
    for name, own in NAMES.items():
        text = re.sub(name, own, text)
    return text


def scripts():
    """The commands of each block, with its place; one that stands in several is run once."""
    found, seen = {}, set()
    for block in (block for block in ALL if block.is_run and block.language == "sh"):
        lines = translated(block.text).splitlines()
        commands = dict.fromkeys(line.partition(" #")[0].strip() for line in lines)
        new = [command for command in commands if command not in seen]
        seen.update(new)
        if new:
            found["\n".join(new)] = block.place
    return found


SCRIPTS = scripts()


@pytest.fixture(scope="module")
def project(copy):
    """The finished project, with a baseline for the gate."""
    project = copy()
    with pytest.MonkeyPatch.context() as patch:
        enter(project, patch)
        said_here(cli.main, "gate", "pendulum", "--update")
    return project


@pytest.mark.parametrize("script", SCRIPTS, ids=SCRIPTS.get)
def test_a_reader_can_run_it(project, script):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=project,
        env=environment(project) | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_tag_and_metric_of_a_run_is_explained(finished):
    """By its name, or as the reference has it of a stage's metrics in the run of all stages."""
    client = store(finished)
    explained = set(re.findall(r"`([^`\s]+)`", PAGE.read_text()))
    prefixes = ("collect/", "vae/", "rnn/", "fidelity/", "controller/", "kept/")
    for logged in client.search_runs([client.get_experiment_by_name("world-models").experiment_id]):
        for name in [*logged.data.metrics, *logged.data.tags]:
            if not name.startswith("mlflow."):
                own = next((name.removeprefix(p) for p in prefixes if name.startswith(p)), name)
                assert {name, own} & explained, name
