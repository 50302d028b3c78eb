"""What the workflows run exists here, and they are as safe as they can be made to be."""

import os
import re
import shlex
from pathlib import Path

import pytest
import yaml

from world_models.cli import _parser

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def jobs(path):
    return yaml.safe_load(path.read_text())["jobs"].values()


def scripts(path):
    return [step["run"] for job in jobs(path) for step in job["steps"] if "run" in step]


def test_there_are_five():
    found = [path.stem for path in WORKFLOWS]
    assert found == ["core", "docs", "nightly", "pull-request", "release"]


@every_workflow
def test_every_command_exists(path):
    targets = re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(), re.M)
    text = "\n".join(scripts(path))
    made, called = re.findall(r"\bmake (\w+)", text), re.findall(r"world-models ([^|\n]*)", text)
    run = re.findall(r"(?<!\S)\.ci/\w+", text)
    lists = re.findall(r"(?<!\S)@(\S+)", text)
    assert made or lists or path.stem == "release"
    assert set(made) <= set(targets)
    for file in lists:
        assert all((ROOT / line).exists() for line in (ROOT / file).read_text().splitlines()), file
    for arguments in called:
        _parser().parse_args(shlex.split(arguments))
    for script in run:
        assert os.access(ROOT / script, os.X_OK), script


@every_workflow
def test_jobs_may_only_read_or_publish_and_end_in_time(path):
    """What publishes says who it is, and has no password."""
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    for job in jobs(path):
        assert job["timeout-minutes"] <= 360  # GitHub's own limit
        allowed = job.get("permissions", {}).items()
        assert allowed <= {"id-token": "write", "pages": "write"}.items()
        for step in job["steps"]:
            assert re.search(r"@(v\d+|[0-9a-f]{40})$", step.get("uses", "@v0")), step


@every_workflow
def test_no_script_has_text_put_in_by_github(path):
    """A branch's name in a script would be run as a part of it."""
    for script in scripts(path):
        assert "${{" not in script


@every_workflow
def test_an_exit_code_is_not_lost_in_a_pipe(path):
    assert yaml.safe_load(path.read_text())["defaults"]["run"]["shell"] == "bash"
