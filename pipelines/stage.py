"""What every stage has: its task, parameters, files and MLflow run, and its one-line errors."""

import argparse
import csv
import errno
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.intact import check_inputs
from pipelines.lineage import Lineage, lineage, outputs, run_cache, runner
from pipelines.resume import BY_HAND, held_state, run_name
from world_models.config import STAGES, Params, Section
from world_models.errors import ConfigError, StoreError, WorldModelsError
from world_models.execution.endings import die_with, leave_nothing_behind
from world_models.execution.memory import keep_freed_memory
from world_models.files import made_whole
from world_models.models.agent import AgentFiles
from world_models.models.precision import prefers_bfloat16
from world_models.rounds import remedy
from world_models.task import Task
from world_models.tasks import get_task
from world_models.tracking.run import StageRun, stage_run
from world_models.tracking.store import default_uri

EXPERIMENT = "world-models"
UNKNOWN = Lineage("", {}, {})
"""Where a stage comes from that DVC doesn't run."""
MENDABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
"""Faults of the disk that a user can mend."""


@dataclass(frozen=True)
class Stage:
    """One stage at work on a round of a task. Paths are relative to the folder DVC runs it in."""

    name: str
    task: Task
    params: Params
    """Those of the round."""
    run: StageRun
    state: Path
    """The folder of what it has done, which it goes on from after a kill; not DVC's, nor git's."""
    shard: int | None
    """Make this shard of the data set again, and nothing else."""
    item: str = ""
    """What the stage is for beside its task, in the matrix of dvc.yaml: a temperature."""
    folder: str = ""
    """Of C and its reports among the task's; empty for the task's agent."""

    @cached_property
    def before(self) -> "Stage":
        """The same stage of the round that this one goes on from: its files are there.

        Raises ConfigError where this is a task's first round.
        """
        if self.params.after is None:
            raise ConfigError(f"{self.params.round} is a first round: it goes on from nothing")
        return replace(self, params=self.params.of(self.params.after), folder="")

    def variant(self, folder: str, changes: Mapping[str, Mapping[str, object]]) -> "Stage":
        """This stage for another C: parameters changed, by section, and a folder of its own."""
        return replace(self, params=self.params.changed(changes), folder=folder)

    def section(self, kind: type[Section]) -> Section:
        """The parameters of one section, which are logged to the run under its name."""
        values = self.params.section(kind)
        name = next(name for name, model in STAGES.items() if model is kind)
        self.run.log_params({name: values.model_dump()})
        return values

    def log_every_section(self) -> None:
        """Logs the parameters of all stages."""
        for kind in STAGES.values():
            self.section(kind)

    @property
    def episodes(self) -> Path:
        """The data set."""
        return Path("data", self.params.round, "episodes")

    @property
    def latents(self) -> Path:
        """The data set through V."""
        return Path("data", self.params.round, "latents")

    def model(self, name: str) -> Path:
        """The checkpoint of `vae`, `rnn` or `controller`."""
        own = self.folder if name == "controller" else ""
        return Path("models", self.params.round, own, f"{name}.safetensors")

    @property
    def agent(self) -> AgentFiles:
        """V, M and C."""
        return AgentFiles(*(self.model(name) for name in AgentFiles._fields))

    def report(self, name: str) -> Path:
        """A file of the task's report, or of the variant's."""
        return Path("reports", self.params.round, self.folder, name)

    def read_metric(self, name: str, figure: str) -> float:
        """A figure in a JSON report of an earlier stage; raises StoreError where it isn't there."""
        try:
            return float(json.loads(self.report(name).read_text())[figure])
        except (OSError, ValueError, KeyError, TypeError) as error:
            again = remedy(Path(name).stem, self.params.round)
            raise StoreError(f"{self.report(name)}: holds no {figure}; {again}") from error

    def goes_on(self, done: int, total: int, unit: str) -> None:
        """Says how much of the work was done before, if any was."""
        if done:
            print(f"{self.name}: going on after {done} of {total} {unit}", file=sys.stderr)

    def write_metrics(self, name: str, metrics: Mapping[str, Any]) -> None:
        """Writes a JSON report, and adds it to the run's artifacts."""
        self.write_text(name, json.dumps(metrics, indent=2) + "\n")

    def write_table(self, name: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Writes a CSV report with a column for each key of the rows."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self.write_text(name, text.getvalue())

    def write_text(self, name: str, text: str) -> None:
        """Writes a report as it is, and adds it to the run's artifacts."""
        with made_whole(self.report(name)) as aside:
            aside.write_text(text)
        self.run.log_artifact(self.report(name))


def main(
    name: str, work: Callable[[Stage], None], shards: bool = False, item: str | None = None
) -> None:
    """Runs a stage for the round named on the command line, and what it calls `item`, if anything.

    What a user can mend ends it with one line on stderr and exit code 1; Ctrl-C with 130.
    """
    parser = argparse.ArgumentParser(description=f"Stage {name} of the pipeline.")
    parser.add_argument("round", help="a task, for its first round, or one of params.yaml's rounds")
    if item is not None:
        parser.add_argument("item", metavar=item)
    if shards:
        parser.add_argument("--shard", type=int, metavar="N", help="make just this shard again")
    arguments = parser.parse_args()
    # Ended politely, a stage closes its games and takes away what is half-written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    leave_nothing_behind()
    keep_freed_memory()
    try:
        of = arguments.round, getattr(arguments, "shard", None), getattr(arguments, "item", "")
        _run(name, *of, work)
    except (WorldModelsError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in MENDABLE:
            raise
        sys.exit(f"{name}: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(130)


def _run(
    name: str, round_: str, shard: int | None, item: str, work: Callable[[Stage], None]
) -> None:
    params = Params(Path("params.yaml"), round_)
    task = get_task(params.task)
    root = project_root()
    dvc_stage = os.environ.get("DVC_STAGE")
    if dvc_stage:
        _die_with_dvc(dvc_stage)
        check_inputs(dvc_stage)
    origin = lineage(dvc_stage) if dvc_stage else UNKNOWN
    taken = run_cache() if dvc_stage else None
    at = "-".join(filter(None, [round_, item]))
    with (
        held_state(root / ".state", f"{name}@{at}", origin.key or BY_HAND, taken) as state,
        stage_run(
            uri=os.environ.get("MLFLOW_TRACKING_URI") or default_uri(root),
            artifact_root=root / "mlartifacts",
            experiment=EXPERIMENT,
            stage=name,
            task=params.task,
            scale=params.scale,
            revision=_revision(),
            tags=_tags(origin) | {"start": run_name(state), "round": round_},
            id_file=state / "run-id",
        ) as run,
    ):
        run.log_params({"seed": params.seed})
        for path, md5 in origin.inputs.items():
            if path.startswith("data/"):
                run.log_dataset(path, md5)
        work(Stage(name, task, params, run, state, shard, item))
        if dvc_stage:
            run.set_tags({f"output.{path}": md5 for path, md5 in outputs(dvc_stage).items()})


def _die_with_dvc(stage: str) -> None:
    """A stage that outlived its dvc would write its outputs beside, or over, those of the next."""
    dvc = runner(stage)
    if dvc is None:
        raise WorldModelsError("DVC_STAGE is set, but no dvc runs this stage (any more)")
    die_with(dvc)


def project_root() -> Path:
    """The project's own folder, also where DVC runs an experiment in a copy of it."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def _tags(origin: Lineage) -> dict[str, str]:
    """What a run's results come from; of a stage that is run by hand DVC knows nothing."""
    of_dvc = {
        "dvc.stage": os.environ.get("DVC_STAGE"),
        "dvc.stage_key": origin.key,
        "dvc.experiment": os.environ.get("DVC_EXP_NAME"),
    }
    inputs = {f"input.{path}": md5 for path, md5 in origin.inputs.items()}
    auto = {"precision.auto": "bfloat16" if prefers_bfloat16() else "float32"}
    return {key: value for key, value in of_dvc.items() if value} | inputs | auto


def _revision() -> str:
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
