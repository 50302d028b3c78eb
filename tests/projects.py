"""Fresh projects at scale smoke, as a user has them after cloning."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.utils.serialize import modify_yaml

from pipelines.dvc.smoke import NOT_NEEDED
from tests import forks

if TYPE_CHECKING:
    import pytest
    from mlflow import MlflowClient

ROOT = Path(__file__).parents[1]
FILES = ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore")
FOLDERS = ("pipelines", "src", "data/nothing", "data/pretrained", "models/nothing")
SMALL = {
    # Small, with work enough in each stage to be killed in the middle of it.
    "smoke.pendulum.collect": {"shard_episodes": 1},
    "smoke.pendulum.controller": {"generations": 4},
    "smoke.pendulum.evaluate": {"episodes": 10, "lanes": 2},  # the gate wants 10
}
DVC = (*forks.PYTHON_M, "dvc")
ALONE = {"machine": {"workers": 1}}
"""A process of their own costs each stage seconds."""
STEPS = {"carracing": (1000, 250), "takecover": (2100, 300)}
"""Steps of an episode at most: in the game's file, and in a test's project, where less will do.

Not Pendulum's: in the first steps of a swing no C is better than another.
"""


def make_project(project: Path, tasks: Sequence[str]) -> None:
    """The pipeline with all its code, in a repository of its own, for some tasks."""
    for file in FILES:
        shutil.copy(ROOT / file, project)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, project / folder, ignore=NOT_NEEDED)
    (project / "results").mkdir()  # no run is kept in it
    shutil.copy(ROOT / "results" / "README.md", project / "results")
    choose(project / "params.yaml", tasks)
    for task in STEPS.keys() & set(tasks):
        shorten(project / "src" / "world_models" / "tasks" / f"{task}.py", *STEPS[task])
    init(project)
    commit(project, "Begin")


def make_finished(
    project: Path, tasks: Sequence[str], changes: Mapping[str, Mapping[str, Any]]
) -> str:
    """A project with other parameters, by section, in which `dvc repro` has run; what that said.

    Its last commit is of what the run has left.
    """
    make_project(project, tasks)
    for section, values in changes.items():
        change_parameters(project, section, values)
    commit(project, "Settings")
    said = dvc(project, "repro", "--verbose")
    commit(project, "All is made")
    return said


def copy_finished(finished: Path, project: Path) -> None:
    """Copies such a project with its cache and its runs."""
    ignored = shutil.ignore_patterns(".state")  # it belongs to runs that end there
    shutil.copytree(finished, project, ignore=ignored, copy_function=copy_or_link)


def copy_or_link(source: str, target: str) -> None:
    """What nobody writes to, in DVC's cache and among MLflow's artifacts, needs no second copy."""
    if {"cache", "mlartifacts"} & set(Path(source).parts):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def forget(project: Path, stages: Sequence[str]) -> None:
    """Has DVC take stages, `vae@pendulum`, for ones that have never run."""
    with modify_yaml(project / "dvc.lock") as lock:
        for stage in stages:
            del lock["stages"][stage]
    commands = [f"pipelines.{stage.replace('@', ' ')}" for stage in stages]
    for entry in (project / ".dvc" / "cache" / "runs").glob("*/*/*"):
        if any(f"{command}\n" in entry.read_text() for command in commands):
            shutil.rmtree(entry.parent)


def shorten(task: Path, was: int, now: int) -> None:
    """Has the episodes of a project's game end sooner."""
    text, found = re.subn(f"time_limit={was},", f"time_limit={now},", task.read_text())
    assert found == 1
    task.write_text(text)


def choose(parameters: Path, tasks: Sequence[str]) -> None:
    """Sets the scale and the first rounds, and leaves all other text as it is."""
    rounds = "".join(
        f"  {task}:\n    task: {task}\n    after: nothing\n    settings: {task}\n" for task in tasks
    )
    text = parameters.read_text()
    for was, now in {
        r"^scale: \w+": "scale: smoke",
        r"^rounds:\n(?:  .*\n)+": f"rounds:\n{rounds}",
    }.items():
        text, found = re.subn(was, now, text, flags=re.MULTILINE)
        assert found == 1, was
    parameters.write_text(text)


def change_parameters(project: Path, section: str, values: Mapping[str, Any]) -> None:
    """Gives a section of params.yaml, `smoke.pendulum.vae`, other values."""
    with modify_yaml(str(project / "params.yaml")) as contents:
        place = contents
        for key in filter(None, section.split(".")):
            place = place[key]
        place.update(values)


def commit(project: Path, message: str) -> None:
    run(project, "git", "add", "--all")
    identity = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    run(project, "git", *identity, "commit", "--quiet", "--message", message)


def environment(project: Path) -> dict[str, str]:
    """What commands of a project run in: this Python, and the project's own code."""
    kept = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(project / "src"),
        "DVC_NO_ANALYTICS": "1",
    }


def enter(project: Path, patch: "pytest.MonkeyPatch") -> None:
    """Has this process be in a project, whose own store is the one that it tracks in."""
    patch.chdir(project)
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)


def run(project: Path, *command: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a command in a project, and requires its exit code."""
    if command[:2] == forks.PYTHON_M:
        done = forks.run(command, project, environment(project))
    else:
        done = subprocess.run(
            command,
            cwd=project,
            env=environment(project),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == expected, done.stdout + done.stderr
    return done


def store(project: Path) -> "MlflowClient":
    """A project's own MLflow store."""
    from world_models.tracking.client import open_store
    from world_models.tracking.embedded import default_uri

    return open_store(default_uri(project))


def dvc(project: Path, *arguments: str) -> str:
    """What a dvc that succeeds says on stdout."""
    return run(project, *DVC, *arguments).stdout


def init(project: Path, *options: str) -> None:
    """Makes a folder a repository of git's, with options, and of DVC's."""
    from dvc.repo import Repo

    run(project, "git", "init", "--quiet", *options)
    Repo.init(str(project)).close()


def status(project: Path, *stages: str) -> dict[str, Any]:
    """What `dvc status --json` finds changed, by stage."""
    from dvc.repo import Repo

    with chdir(project), Repo() as repo:
        return dict(repo.status(list(stages)))
