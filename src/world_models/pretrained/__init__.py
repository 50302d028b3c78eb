"""Where an agent is: in this package, in a folder, or in MLflow's registry."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from world_models.layout import AgentFiles
from world_models.runtime.errors import WorldModelsError

PACKAGED = Path(__file__).parent
"""Holds a folder for each task that has an agent in this package."""
REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)[/@](?P<version>[^/@]+)")


def pretrained_names() -> list[str]:
    """Returns the tasks that have an agent in this package, in alphabetical order."""
    return sorted(file.parent.name for file in PACKAGED.glob("*/controller.safetensors"))


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
