"""Where an agent is: in this package, a folder, MLflow's registry or Hugging Face's hub."""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from world_models.controller.checkpoint import read_task
from world_models.layout import AgentFiles, ExportFiles, RoundFiles
from world_models.pretrained import hub
from world_models.runtime.checkpoint import halve
from world_models.runtime.errors import (
    CheckpointError,
    ExtraError,
    TrackingError,
    WorldModelsError,
)
from world_models.runtime.files import atomic_write
from world_models.tasks import get_task

PACKAGED = Path(__file__).parent
"""Holds a folder for each task that has an agent in this package."""
SUMS = Path("models", "pretrained")
"""Holds the hashes of each of those, in a clone: rounds that go on from them depend on this."""
WHOLE = "[!.]*"
"""Folders that are not just being written."""
CARD = "card.md"
"""What an agent is, beside its files."""
HUB_CARD = "README.md"
"""The same in a repository of the hub, which shows it as the repository's page."""
REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)[/@](?P<version>[^/@]+)")
AT_HUB = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)(@(?P<revision>\S+))?")
LOADED = re.compile(r'Agent\.from_pretrained\("[^"]*"\)')
SHORT_CARD = """\
---
library_name: world-models
tags: [world-models, reinforcement-learning, {task}]
---
# World model of {task}

V, M and C of an agent for {task} (Ha and Schmidhuber, *World Models*, 2018).

```python
from world_models.agent import Agent

agent = Agent.from_pretrained("{task}")
```
"""
"""The card of an agent that has none."""


@dataclass(frozen=True)
class PackagedFiles(RoundFiles):
    """The files of a task's agent in this package, without data and reports."""

    def model(self, name: str) -> Path:
        """Returns one of the agent's files."""
        return PACKAGED / self.name / f"{name}.safetensors"


def packaged(task: str) -> PackagedFiles:
    """Returns a task's agent in this package; raises WorldModelsError where it has none."""
    if task not in pretrained_names():
        known = ", ".join(pretrained_names()) or "none"
        raise WorldModelsError(f"{task}: no agent of it comes with the package (only {known})")
    return PackagedFiles(task)


def pretrained_names() -> list[str]:
    """Returns the tasks that have an agent in this package, in alphabetical order."""
    return sorted(file.parent.name for file in PACKAGED.glob(f"{WHOLE}/controller.safetensors"))


def agent_folders(models: str | Path) -> dict[str, AgentFiles]:
    """Returns the agents in this package and in the folders of `models`, by the folders' names;
    where both have one of a name, it is that of `models`."""
    packaged = [PACKAGED / name for name in pretrained_names()]
    found = [AgentFiles.of(folder) for folder in [*packaged, *sorted(Path(models).glob(WHOLE))]]
    return {files.vae.parent.name: files for files in found if all(file.exists() for file in files)}


def all_sources(models: str | Path) -> dict[str, str | Path]:
    """Returns where every agent is that can be played here, by a name: those of `agent_folders`,
    and the versions in MLflow's registry, if there is one."""
    from world_models.tracking.client import existing_store, present_uri
    from world_models.tracking.registry import versions

    sources: dict[str, str | Path] = {
        name: files.vae.parent for name, files in agent_folders(models).items()
    }
    try:
        registered = versions(existing_store(present_uri()))
    except (ExtraError, TrackingError):
        registered = []
    return sources | {
        f"{name}, version {number}": f"models:/{name}/{number}" for name, number in registered
    }


@contextmanager
def located(source: str | Path) -> Iterator[AgentFiles]:
    """Finds an agent's files, which are there for as long as the block.

    Args:
        source: a task's name, for the agent that this package brings; a folder, as a path or as
            text, such as `models/takecover`; a version in MLflow's registry,
            `models:/world-models-takecover@champion` or `models:/world-models-takecover/3`; or a
            repository of Hugging Face's hub, `owner/name` or `owner/name@revision`.

    Raises WorldModelsError where there is nothing of the kind. A path is taken as it is: who reads
    the files says what is missing.
    """
    if isinstance(source, Path):
        yield AgentFiles.of(source)
    elif source in pretrained_names():
        yield AgentFiles.of(PACKAGED / source)
    elif registered := REGISTERED.fullmatch(source):
        from world_models.tracking.client import existing_store, present_uri
        from world_models.tracking.registry import download_version

        with tempfile.TemporaryDirectory(prefix="world-models-") as folder:
            store = existing_store(present_uri())
            version = download_version(store, **registered.groupdict(), folder=folder)
            yield AgentFiles.of(version)
    elif Path(source).is_dir():
        yield AgentFiles.of(Path(source))
    elif at_hub := AT_HUB.fullmatch(source):
        yield _from_hub(**at_hub.groupdict())
    else:
        known = ", ".join(pretrained_names()) or "none"
        raise WorldModelsError(
            f"{source}: no agent: no folder, nor one that comes with the package ({known})"
        )


def _from_hub(repo: str, revision: str | None) -> AgentFiles:
    """An agent's files in the hub's cache; nothing else of the repository is fetched."""
    names = [file.name for file in AgentFiles.of(Path())]
    files = AgentFiles.of(hub.download(repo, revision, [*names, CARD, HUB_CARD]))
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise WorldModelsError(f"{repo}: no agent: in {hub.HUB} it lacks {', '.join(missing)}")
    return files


def push_to_hub(source: str | Path, repo: str, private: bool = False) -> str:
    """Gives an agent to others: uploads its files and its card to Hugging Face's hub.

    Args:
        source: where the agent is, as `located` takes it. Not an `Agent`, whose networks are packed
            for inference and can't be saved again.
        repo: `owner/name`; it is made where there is none.
        private: it has to be private.

    Returns its address. Raises WorldModelsError where there is no such agent, or the hub refuses.
    """
    with located(source) as files:
        return push(files, repo, private)


def push(files: AgentFiles, repo: str, private: bool = False) -> str:
    """Uploads an agent's files as `push_to_hub` does."""
    named = AT_HUB.fullmatch(repo)
    if named is None or named["revision"]:
        raise WorldModelsError(f"{repo}: no repository's name: it is owner/name")
    task = read_task(files.controller)
    _require(files)
    card = _card(files.controller.parent, task, repo).encode()
    return hub.upload(repo, {**{file.name: file for file in files}, HUB_CARD: card}, private)


def _card(folder: Path, task: str, repo: str) -> str:
    """The card in an agent's folder, or else a short one, which says how to load this very one."""
    found = next((folder / name for name in (CARD, HUB_CARD) if (folder / name).exists()), None)
    text = found.read_text(encoding="utf-8") if found else SHORT_CARD.format(task=task)
    return LOADED.sub(f'Agent.from_pretrained("{repo}")', text)


def release(exported: ExportFiles) -> Path:
    """Copies an exported agent to this package, in place of its task's present one, and with it the
    C's that were bred in its dreams.

    Returns its folder there. Raises CheckpointError where a file of it is missing,
    ConfigError where it plays no game that is known here.
    """
    task = get_task(read_task(exported.agent.controller)).name  # a part of a path from here on
    files = [*exported.agent, exported.report(CARD)]
    _require(files)
    with atomic_write(PACKAGED / task) as aside:
        aside.mkdir()
        for file in files:
            shutil.copyfile(file, aside / file.name)
        for name, file in exported.agent.bred.items():
            halve(file, aside / "controllers" / f"{name}.safetensors")
    with atomic_write(SUMS / f"{task}.sha256") as aside:
        aside.write_text(sums(task))
    return PACKAGED / task


def sums(task: str) -> str:
    """Returns the hashes of an agent's files in this package, as sha256sum lists them."""
    return "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
        for file in packaged(task).agent
    )


def _require(files: Iterable[Path]) -> None:
    for file in files:
        if not file.exists():
            raise CheckpointError(file, "missing")
