"""Where a round's files lie, and which stage of dvc.yaml makes each of them.

All paths are relative to the project's folder.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from world_models.runtime.errors import FileError, one_line
from world_models.tasks import task_names

MADE_BY = {
    r"data/(?P<round>[^/]+)/episodes": "collect",
    r"data/(?P<round>[^/]+)/latents": "encode",
    r"models/(?P<round>[^/]+)/(?P<stage>vae|rnn|controller)\.safetensors": "{stage}",
    r"models/(?P<round>[^/]+)/dreamers\.safetensors": "rnn",
    r"models/(?P<round>[^/]+)/starts\.safetensors": "encode",
    r"reports/(?P<round>[^/]+)/(scores\.json|returns\.csv)": "evaluate",
}
"""Patterns of paths, and the stage that writes what lies there."""


class AgentFiles(NamedTuple):
    """The files of an agent's parts."""

    vae: Path
    rnn: Path
    controller: Path
    starts: Path
    """Where its dreams begin."""

    @classmethod
    def of(cls, folder: str | Path) -> "AgentFiles":
        """Returns those of an agent in a folder."""
        return cls(*(Path(folder, f"{name}.safetensors") for name in cls._fields))

    @property
    def bred(self) -> dict[str, Path]:
        """Further C's of its V and M, by name: those in `controllers` beside it, and those that
        sweep_temperature has evolved in its own dreams, `tau-1.15`."""
        folder = self.controller.parent
        beside = {file.stem: file for file in folder.glob("controllers/*.safetensors")}
        sweep = folder.parent.parent / "sweeps" / folder.name / "temperature"
        swept = sweep.glob("own-*/controller.safetensors")
        found = {f"tau-{file.parent.name.removeprefix('own-')}": file for file in swept} | beside
        return dict(sorted(found.items()))


@dataclass(frozen=True)
class RoundFiles:
    """The files of one round."""

    name: str
    """The round's name."""

    @property
    def episodes(self) -> Path:
        """The data set."""
        return Path("data", self.name, "episodes")

    @property
    def latents(self) -> Path:
        """The data set through V."""
        return Path("data", self.name, "latents")

    def model(self, name: str) -> Path:
        """Returns the checkpoint of `vae`, `starts`, `rnn`, `dreamers` or `controller`."""
        return Path("models", self.name, f"{name}.safetensors")

    @property
    def agent(self) -> AgentFiles:
        """V, M and C, and where its dreams begin."""
        return AgentFiles(*(self.model(name) for name in AgentFiles._fields))

    def report(self, name: str) -> Path:
        """Returns a file of the round's report."""
        return Path("reports", self.name, name)


@dataclass(frozen=True)
class SweepFiles(RoundFiles):
    """The files of one C of a sweep, which has V, M and the data set of a round.

    They lie outside the folders of the round, which later rounds depend on.
    """

    sweep: str
    """The sweep's part of the path, e.g. `temperature/own-1.15`."""

    def model(self, name: str) -> Path:
        """Returns one of the round's checkpoints, or the sweep's own `controller`."""
        if name != "controller":
            return super().model(name)
        return Path("sweeps", self.name, self.sweep, f"{name}.safetensors")

    def report(self, name: str) -> Path:
        """Returns a file of this C's report."""
        return Path("reports", self.name, self.sweep, name)


@dataclass(frozen=True)
class ExportFiles(RoundFiles):
    """An exported agent, all of it in one folder."""

    @property
    def folder(self) -> Path:
        """The folder."""
        return Path("exports", self.name)

    def model(self, name: str) -> Path:
        """Returns one of the agent's files."""
        return self.folder / f"{name}.safetensors"

    def report(self, name: str) -> Path:
        """Returns one of the other files."""
        return self.folder / name


def maker(path: Path) -> str | None:
    """Returns the stage that makes a file or folder, `vae@carracing`, or None for others."""
    for pattern, stage in MADE_BY.items():
        if found := re.fullmatch(pattern, path.as_posix()):
            return f"{stage.format(**found.groupdict())}@{found['round']}"
    return None


def remedy(error: FileError, rounds: Collection[str]) -> str:
    """Returns what to do about a file at fault; empty where no stage makes it.

    `rounds` are those of params.yaml, for which there are stages.
    """
    shard = error.path.name.startswith("shard-")
    stage = maker(error.path.parent if shard else error.path)
    if error.fault.startswith("missing"):
        return repro(stage, rounds, "makes it")
    return repro(stage, rounds, "makes it again", "--force --single-item ")


def repro(stage: str | None, rounds: Collection[str], does: str, options: str = "") -> str:
    """Returns how DVC comes to run a stage, and what that does; empty where it can't."""
    round_ = (stage or "").partition("@")[2]
    if round_ in rounds:
        return f"`dvc repro {options}{stage}` {does}"
    if round_ in task_names():
        added = f"with {round_} added to rounds in params.yaml"
        return f"{added}, `dvc repro {options}{stage}` {does}"
    return ""


def explain(error: Exception, rounds: Collection[str]) -> str:
    """Returns an error as one line, with what to do about it where that is known."""
    remedies = [remedy(error, rounds)] if isinstance(error, FileError) else []
    return "; ".join(one_line(part) for part in (str(error), *remedies) if part)
