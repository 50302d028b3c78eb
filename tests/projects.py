"""Fresh projects at scale smoke, as a user has them after cloning."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def make_project(project: Path, tasks: Sequence[str]) -> None:
    """The pipeline with all its code, in a repository of its own, for some tasks."""
    for file in ("dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / file, project)
    for folder in ("pipelines", "src"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / folder, project / folder, ignore=ignored)
    parameters = (ROOT / "params.yaml").read_text()
    parameters = re.sub(r"^scale: .*", "scale: smoke", parameters, flags=re.MULTILINE)
    parameters = re.sub(r"^tasks: .*", f"tasks: {tasks}", parameters, flags=re.MULTILINE)
    (project / "params.yaml").write_text(parameters)
    run(project, "git", "init", "--quiet")
    dvc(project, "init", "--quiet")
    commit(project, "Begin")


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


def run(project: Path, *command: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a command in a project, and requires its exit code."""
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


def dvc(project: Path, *arguments: str) -> str:
    """What a dvc that succeeds says on stdout."""
    return run(project, sys.executable, "-m", "dvc", *arguments).stdout
