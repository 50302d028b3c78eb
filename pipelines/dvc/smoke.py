"""Runs Pendulum's smallest pipeline in a copy of the project, from nothing.

    python -m pipelines.dvc.smoke FOLDER

The copy has its own cache and runs: nothing is taken from the project's, and nothing is left there.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import IO, Any

import yaml

from pipelines.git import git

PARTS = (
    *("dvc.yaml", "params.yaml", ".dvcignore", "pipelines", "src"),
    *("data/nothing", "models/nothing"),
)
"""All that a pipeline begins with."""
NOT_NEEDED = shutil.ignore_patterns("__pycache__", "*.egg-info", "node_modules")
"""What lies in those folders beside it."""
ROUND = {"task": "pendulum", "after": "nothing", "settings": "pendulum"}
CONFIG = """[core]
no_scm = true
check_update = false
site_cache_dir = {copy}/.dvc/site
"""
"""DVC's, for a folder that git doesn't know."""


def copy_folder(project: Path, copy: Path) -> None:
    """Copies what a project's pipeline needs, as it is in the folder, committed or not."""
    for part in PARTS:
        source, target = project / part, copy / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=NOT_NEEDED)
        else:
            shutil.copy(source, target)
    _make_repository(copy)


def copy_revision(project: Path, revision: str, copy: Path) -> None:
    """Copies the same as git has it; raises GitError where that has no such commit."""
    archive = git("-C", str(project), "archive", revision, *PARTS)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(copy, filter="data")
    _make_repository(copy)


def begin(copy: Path, output: IO[Any] = sys.stderr, **variables: str) -> "subprocess.Popen[bytes]":
    """Starts the pipeline in a copy, with these environment variables beside the usual ones."""
    _choose_pendulum(copy / "params.yaml")
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=copy,
        env=environment(copy) | variables,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )


def environment(copy: Path) -> dict[str, str]:
    """Returns what the commands of a copy run in: this Python, and the copy's own code."""
    kept = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(copy / "src"),
        "DVC_NO_ANALYTICS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def _make_repository(copy: Path) -> None:
    (copy / "results").mkdir()  # no run is kept there
    (copy / ".dvc").mkdir()
    (copy / ".dvc" / "config").write_text(CONFIG.format(copy=copy))


def _choose_pendulum(path: Path) -> None:
    """Has params.yaml name scale smoke, Pendulum's first round, and no sweep."""
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params["scale"] = "smoke"
    params["rounds"] = {"pendulum": ROUND}
    params["sweep_temperature"]["tasks"] = params["sweep_inputs"]["tasks"] = []
    params["compare_rounds"]["rounds"] = params["export"]["rounds"] = []
    path.write_text(yaml.safe_dump(params, sort_keys=False))


if __name__ == "__main__":
    folder = Path(sys.argv[1]).resolve()
    copy_folder(Path(), folder)
    sys.exit(begin(folder).wait())
