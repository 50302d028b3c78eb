"""What every stage has: its task, parameters, files and MLflow run, and its one-line errors."""

import argparse
import csv
import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pipelines
from pipelines.dvc.lineage import Lineage, lineage, outputs, repository, run_cache, runner
from pipelines.dvc.resume import BY_HAND, held_state, note_inputs, run_name
from pipelines.dvc.verify import verify_inputs
from pipelines.git import revision, untracked_code
from pipelines.ranks import devices, follow, is_loss, lead, rank
from world_models.collecting.config import CollectConfig
from world_models.controller.config import ControllerConfig
from world_models.data.store import EpisodeStore
from world_models.evaluation.config import EvaluateConfig, FidelityConfig
from world_models.layout import ExportFiles, RoundFiles, SweepFiles, explain
from world_models.params import (
    ORIGINS,
    PARAMS,
    PRETRAINED,
    SECTIONS,
    MachineConfig,
    Params,
    round_names,
)
from world_models.pretrained import packaged
from world_models.rnn.config import RNNConfig
from world_models.runtime.config import Executor
from world_models.runtime.devices import best_device, machine
from world_models.runtime.errors import (
    OF_THE_DISK,
    ConfigError,
    DivergedError,
    StoreError,
    WorldModelsError,
)
from world_models.runtime.files import atomic_write
from world_models.runtime.lifetime import die_with, leave_nothing_behind
from world_models.runtime.memory import keep_freed_memory
from world_models.runtime.precision import prefers_bfloat16
from world_models.runtime.processes import OnRay, OpenPool, WorkerPool
from world_models.tasks import get_task
from world_models.tasks.base import Task
from world_models.tracking.client import present_uri
from world_models.tracking.delivery import first_line
from world_models.tracking.history import OUTPUTS, digest
from world_models.tracking.run import StageRun, stage_run
from world_models.vae.config import EncodeConfig, VAEConfig
from world_models.worlds.config import DreamConfig

if TYPE_CHECKING:
    import torch

    from world_models.training.ranks import Devices

EXPERIMENT = "world-models"
UNKNOWN = Lineage("", {}, {})
"""Where a stage comes from that DVC doesn't run."""


@dataclass(frozen=True)
class StageConfig:
    """The sections of params.yaml as a stage's round has them."""

    collect: CollectConfig
    vae: VAEConfig
    encode: EncodeConfig
    rnn: RNNConfig
    dream: DreamConfig
    fidelity: FidelityConfig
    controller: ControllerConfig
    evaluate: EvaluateConfig


@dataclass(frozen=True)
class Context:
    """One stage at work on a round of a task. Paths are relative to the folder DVC runs it in."""

    name: str
    """The stage's name."""
    task: Task
    params: Params
    """The parameters of the round."""
    files: RoundFiles
    """Where the round's files lie."""
    tracking: StageRun
    state: Path
    """The folder of what it has done, which it goes on from after a kill; not DVC's, nor git's."""
    variant: str = ""
    """Which of a sweep's variants the stage is for, as dvc.yaml names it: `own-1.15`."""
    leads: bool = True
    """Whether this process logs and writes; those that only train with it do not."""

    @cached_property
    def config(self) -> StageConfig:
        """The parameters in force, a typed value a section."""
        return StageConfig(**{name: self.params.section(kind) for name, kind in SECTIONS.items()})  # type: ignore[arg-type]

    @property
    def devices(self) -> "Devices":
        """What it trains on; raises ConfigError where torchrun has started other processes."""
        return devices(self.params.general(MachineConfig))

    def trained_on(self, kept: str) -> int:
        """Returns on how many devices trainings were, at most, that are kept where this pattern
        says; a run with several is tagged with it."""
        from world_models.training.checkpoint import devices_kept  # Lightning takes seconds

        count = max(map(devices_kept, self.state.glob(kept)), default=1)
        if count > 1:
            self.tracking.set_tags({"devices": str(count)})
        return count

    @cached_property
    def before(self) -> "Context":
        """The same stage of the round that this one goes on from: its files are there.

        Raises ConfigError where this is a task's first round, or goes on from an agent that the
        package doesn't have.
        """
        if self.params.after is None:
            raise ConfigError(f"{self.params.round} is a first round: it goes on from nothing")
        if self.params.after == PRETRAINED:
            return replace(self, files=packaged(self.task.name))
        return self.of(self.params.after)

    @property
    def adds_to_data(self) -> bool:
        """Whether there is a data set that this round's episodes are added to."""
        return self.params.after not in (None, PRETRAINED)

    def of(self, round_: str) -> "Context":
        """Returns the same stage of another round."""
        return replace(self, params=self.params.of(round_), files=RoundFiles(round_))

    def for_sweep(self, sweep: str, changes: Mapping[str, Mapping[str, object]]) -> "Context":
        """Returns this stage for another C: parameters changed, by section, and its own files.

        `sweep` is its part of their paths, e.g. `temperature/own-1.15`.
        """
        files = SweepFiles(self.params.round, sweep)
        return replace(self, params=self.params.changed(changes), files=files)

    def for_export(self) -> "Context":
        """Returns this stage with the files of the agent that it exports."""
        return replace(self, files=ExportFiles(self.params.round))

    def open_latents(self, size: int) -> EpisodeStore:
        """Opens the data set through V; raises StoreError where its z has another size than V's."""
        store = EpisodeStore(self.files.latents)
        found = store.read_frames(store.episodes()[0], "mu", 0, 1).shape[1]
        if found != size:
            raise StoreError(
                self.files.latents, f"holds latents of {found}, V makes them of {size}"
            )
        return store

    @property
    def open_pool(self) -> OpenPool:
        """What opens workers, as `machine` in params.yaml and the environment say.

        Raises ConfigError for a WORLD_MODELS_EXECUTOR that there isn't.
        """
        machine = self.params.general(MachineConfig)
        if executor(machine) == "local":
            return WorkerPool
        address = os.environ.get("RAY_ADDRESS") or None
        return OnRay(address, machine.workers, machine.shared_files, pipelines)

    @property
    def playing_device(self) -> "torch.device":
        """Where the networks of those workers compute: Ray's have a core each."""
        import torch

        on_ray = executor(self.params.general(MachineConfig)) == "ray"
        return torch.device("cpu") if on_ray else best_device()

    def log_sections(self, *names: str) -> None:
        """Logs the parameters of these sections to the run, under the sections' names."""
        for name in names:
            self.tracking.log_params({name: getattr(self.config, name).model_dump()})

    def report_progress(self, done: int, total: int, unit: str) -> None:
        """Says how much of the work was done before, if any was."""
        if done and self.leads:
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
        with atomic_write(self.files.report(name)) as aside:
            aside.write_text(text, encoding="utf-8")
        self.tracking.log_artifact(self.files.report(name))


def executor(machine: MachineConfig) -> str:
    """Returns who works; raises ConfigError for a WORLD_MODELS_EXECUTOR that there isn't."""
    chosen = os.environ.get("WORLD_MODELS_EXECUTOR") or machine.executor
    if chosen not in get_args(Executor):
        known = ", ".join(get_args(Executor))
        raise ConfigError(f"WORLD_MODELS_EXECUTOR: no executor {chosen!r}; there are: {known}")
    return chosen


def main(
    name: str,
    work: Callable[[Context], None],
    sections: Sequence[str] = (),
    *,
    variant: str | None = None,
) -> None:
    """Runs a stage for the round named on the command line.

    What a user can fix ends it with one line on stderr and exit code 1; Ctrl-C with 130.

    Args:
        work: what the stage does.
        sections: those of params.yaml that it is run with, which are logged.
        variant: what the second argument is called, of a stage that is run for several.
    """
    parser = argparse.ArgumentParser(description=f"Stage {name} of the pipeline.")
    parser.add_argument("round", help="one of the rounds in params.yaml, e.g. carracing")
    if variant is not None:
        parser.add_argument("variant", metavar=variant)
    arguments = parser.parse_args()
    # Ended politely, a stage closes its games and takes away what is half-written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    leave_nothing_behind()
    keep_freed_memory()
    try:
        with _copy_explained():
            params = Params(PARAMS, arguments.round)
            if rank(params.general(MachineConfig)) > 0:
                _follow(name, params, work)
                return
            with repository() if "DVC_STAGE" in os.environ else nullcontext():
                _run(name, params, getattr(arguments, "variant", ""), sections, work)
    except (WorldModelsError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in OF_THE_DISK:
            raise
        sys.exit(f"{name}: {explain(error, round_names(PARAMS))}")
    except RuntimeError as error:
        if not is_loss(error):
            raise
        lost = "the training has lost one of its processes (out of memory?); run again: it goes on"
        sys.exit(f"{name}: {lost} [{first_line(error)}]")
    except KeyboardInterrupt:
        sys.exit(130)


def _follow(name: str, params: Params, work: Callable[[Context], None]) -> None:
    """Trains with a stage that another process runs: that one alone has DVC, locks and MLflow."""
    task, files, state = get_task(params.task), RoundFiles(params.round), project_root() / follow()
    with suppress(DivergedError):  # the other says it
        work(Context(name, task, params, files, StageRun(), state, leads=False))


def _run(
    name: str,
    params: Params,
    variant: str,
    sections: Sequence[str],
    work: Callable[[Context], None],
) -> None:
    task, round_ = get_task(params.task), params.round
    root = project_root()
    dvc_stage = os.environ.get("DVC_STAGE")
    if dvc_stage:
        _die_with_dvc(dvc_stage)
        verify_inputs(dvc_stage)
    origin = lineage(dvc_stage) if dvc_stage else UNKNOWN
    taken = run_cache() if dvc_stage else None
    at = "-".join(filter(None, [round_, variant]))
    with (
        held_state(root / ".state", f"{name}@{at}", origin.key or BY_HAND, taken) as state,
        stage_run(
            uri=present_uri(root),
            experiment=EXPERIMENT,
            stage=name,
            task=params.task,
            scale=params.scale,
            revision=revision(),
            tags=_tags(origin) | {"start": run_name(state), "round": round_},
            id_file=state / "run-id",
        ) as run,
    ):
        context = Context(name, task, params, RoundFiles(round_), run, state, variant)
        lead(params.general(MachineConfig), state.relative_to(root))
        run.log_params({"seed": params.seed})
        run.describe(description(work, params))
        if dvc_stage:
            note_inputs(state, origin.inputs)
            run.log_lineage({"inputs": origin.inputs})
        context.log_sections(*sections)
        for path, md5 in origin.inputs.items():
            if path.startswith("data/") and path.removeprefix("data/") not in ORIGINS:
                run.log_dataset(path, md5)
        work(context)
        if dvc_stage:
            written = outputs(dvc_stage)
            run.log_lineage({"inputs": origin.inputs, "outputs": written})
            run.set_tags({OUTPUTS: digest(written)})


@contextmanager
def _copy_explained() -> Iterator[None]:
    """An experiment runs in a copy of the project: names the code that is not in it, if that is at
    fault."""
    try:
        yield
    except (ConfigError, ModuleNotFoundError) as error:
        root = project_root()
        for path in untracked_code(root) if root != Path().resolve() else ():
            if re.search(rf"\b{re.escape(Path(path).stem)}\b", str(error)):
                fault = f"DVC has not copied {path}, which git doesn't know: `git add {path}`"
                raise WorldModelsError(f"{error}; {fault}") from None
        raise


def description(work: Callable[[Context], None], params: Params) -> str:
    """Returns what a stage's run is, in Markdown: what its module says of it, and its round."""
    does = (sys.modules[work.__module__].__doc__ or "").strip()
    return f"{does}\n\nRound `{params.round}` at scale `{params.scale}`, seed {params.seed}."


def _die_with_dvc(stage: str) -> None:
    """A stage that outlived its dvc would write its outputs beside, or over, those of the next."""
    dvc = runner(stage)
    if dvc is None:
        raise WorldModelsError("DVC_STAGE is set, but no dvc runs this stage (any more)")
    die_with(dvc)


def project_root() -> Path:
    """Returns the project's own folder, also where DVC runs an experiment in a copy of it."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def _tags(origin: Lineage) -> dict[str, str]:
    """What a run's results come from; of a stage that is run by hand DVC knows nothing."""
    of_dvc = {
        "dvc.stage": os.environ.get("DVC_STAGE"),
        "dvc.stage_key": origin.key,
        "dvc.experiment": os.environ.get("DVC_EXP_NAME"),
    }
    auto = "bfloat16" if prefers_bfloat16() else "float32"
    here = {"precision.auto": auto, "machine": machine()}
    return {key: value for key, value in of_dvc.items() if value} | here
