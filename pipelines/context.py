"""What every stage has: its task, its round's parameters and files, its MLflow run, its reports."""

import csv
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pipelines
from pipelines.ranks import devices
from world_models.collecting.config import CollectConfig
from world_models.controller.config import ControllerConfig
from world_models.data.store import EpisodeStore
from world_models.evaluation.config import EvaluateConfig, FidelityConfig
from world_models.layout import ExportFiles, RoundFiles, SweepFiles
from world_models.params import PRETRAINED, SECTIONS, MachineConfig, Params
from world_models.pretrained import packaged
from world_models.rnn.config import RNNConfig
from world_models.runtime.config import Executor
from world_models.runtime.devices import best_device
from world_models.runtime.errors import ConfigError, StoreError
from world_models.runtime.files import atomic_write
from world_models.runtime.processes import OnRay, OpenPool, WorkerPool
from world_models.tasks.base import Task
from world_models.tracking.run import StageRun
from world_models.vae.config import EncodeConfig, VAEConfig
from world_models.worlds.config import DreamConfig

if TYPE_CHECKING:
    import torch

    from world_models.training.ranks import Devices


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
