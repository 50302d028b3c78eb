"""Where an agent is: in this package, in a folder, or in MLflow's registry."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from world_models.controller.checkpoint import read_controller_sizes
from world_models.layout import AgentFiles, ExportFiles
from world_models.runtime.errors import CheckpointError, TrackingError, WorldModelsError
from world_models.runtime.files import atomic_write

PACKAGED = Path(__file__).parent
"""Holds a folder for each task that has an agent in this package."""
CARD = "card.md"
"""What an agent is, beside its files."""
REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)[/@](?P<version>[^/@]+)")


def pretrained_names() -> list[str]:
    """Returns the tasks that have an agent in this package, in alphabetical order."""
    return sorted(file.parent.name for file in PACKAGED.glob("*/controller.safetensors"))


def agent_folders(models: Path) -> dict[str, AgentFiles]:
    """Returns the agents in this package and in the folders of `models`, by the folders' names;
    where both have one of a name, it is that of `models`."""
    packaged = [PACKAGED / name for name in pretrained_names()]
    found = [AgentFiles.of(folder) for folder in [*packaged, *sorted(models.glob("*"))]]
    return {files.vae.parent.name: files for files in found if all(file.exists() for file in files)}


def all_sources(models: Path) -> dict[str, str | Path]:
    """Returns where every agent is that can be played here, by a name: those of `agent_folders`,
    and the versions in MLflow's registry, if there is one."""
    from world_models.tracking.client import existing_store, present_uri
    from world_models.tracking.registry import versions

    sources: dict[str, str | Path] = {
        name: files.vae.parent for name, files in agent_folders(models).items()
    }
    try:
        registered = versions(existing_store(present_uri()))
    except TrackingError:
        registered = []
    return sources | {
        f"{name}, version {number}": f"models:/{name}/{number}" for name, number in registered
    }


@contextmanager
def located(source: str | Path) -> Iterator[AgentFiles]:
    """Finds an agent's files, which are there for as long as the block.

    Args:
        source: a task's name, for the agent that this package brings; a folder, as a path or as
            text, such as `models/takecover`; or a version in MLflow's registry,
            `models:/world-models-takecover@champion` or `models:/world-models-takecover/3`.

    Raises WorldModelsError where there is nothing of the kind.
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
            yield AgentFiles.of(download_version(store, **registered.groupdict(), folder=folder))
    elif Path(source).is_dir():
        yield AgentFiles.of(Path(source))
    else:
        known = ", ".join(pretrained_names()) or "none"
        raise WorldModelsError(
            f"{source}: no agent: no folder, nor one that comes with the package ({known})"
        )


def release(exported: ExportFiles) -> Path:
    """Copies an exported agent to this package, in place of its task's present one.

    Returns its folder there. Raises CheckpointError where a file of it is missing or damaged.
    """
    task = read_controller_sizes(exported.agent.controller).task
    if task is None:
        raise CheckpointError(exported.agent.controller, "doesn't say of which task it is")
    files = [*exported.agent, exported.report(CARD)]
    for file in files:
        if not file.exists():
            raise CheckpointError(file, "missing")
    with atomic_write(PACKAGED / task) as aside:
        aside.mkdir()
        for file in files:
            shutil.copyfile(file, aside / file.name)
    return PACKAGED / task
