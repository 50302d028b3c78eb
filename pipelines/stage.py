"""What every stage has: its task, parameters, files and MLflow run, and its one-line errors."""

import argparse
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from world_models.config import Params
from world_models.errors import WorldModelsError
from world_models.tasks import Task, get_task
from world_models.tracking import StageRun, default_uri, stage_run

EXPERIMENT = "world-models"


@dataclass(frozen=True)
class Stage:
    """One stage at work on one task. Paths are relative to the folder that DVC runs it in."""

    name: str
    task: Task
    params: Params
    run: StageRun

    @property
    def episodes(self) -> Path:
        """The data set."""
        return Path("data", self.task.name, "episodes")

    @property
    def latents(self) -> Path:
        """The data set through V."""
        return Path("data", self.task.name, "latents")

    def model(self, name: str) -> Path:
        """The checkpoint of `vae`, `rnn` or `controller`."""
        return Path("models", self.task.name, f"{name}.safetensors")

    def report(self, name: str) -> Path:
        """A file of the task's report."""
        return Path("reports", self.task.name, name)

    @property
    def state(self) -> Path:
        """The stage's own checkpoints while it works; neither DVC's nor git's."""
        return project_root() / ".state" / f"{self.name}@{self.task.name}"

    def write_metrics(self, name: str, metrics: Mapping[str, Any]) -> None:
        """Writes a JSON report, and logs its numbers to the run."""
        path = self.report(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(metrics, indent=2) + "\n")
        self.run.log_artifact(path)


def main(name: str, work: Callable[[Stage], None]) -> None:
    """Runs a stage for the task named on the command line.

    What a user can mend ends it with one line on stderr and exit code 1; Ctrl-C with 130.
    """
    parser = argparse.ArgumentParser(description=f"Stage {name} of the pipeline.")
    parser.add_argument("task")
    try:
        _run(name, parser.parse_args().task, work)
    except (WorldModelsError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit(f"{name}: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(130)


def _run(name: str, task_name: str, work: Callable[[Stage], None]) -> None:
    params = Params(Path("params.yaml"), task_name)
    task = get_task(task_name)
    root = project_root()
    with stage_run(
        uri=os.environ.get("MLFLOW_TRACKING_URI") or default_uri(root),
        artifact_root=root / "mlartifacts",
        experiment=EXPERIMENT,
        stage=name,
        task=task_name,
        scale=params.scale,
        revision=_revision(),
        tags={"dvc.stage": os.environ.get("DVC_STAGE", "")},
    ) as run:
        work(Stage(name, task, params, run))


def project_root() -> Path:
    """The project's own folder, also where DVC runs an experiment in a copy of it."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def _revision() -> str:
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `folder` if all goes well, and goes away if not."""
    aside = folder.with_name(folder.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
