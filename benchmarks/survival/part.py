"""What the parts of the benchmark share: tries, and finished projects to make them on."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dvc.utils.serialize import load_yaml

from pipelines.register import STAGES
from tests.projects import SMALL, copy_finished, make_finished

Result = dict[str, Any]
"""What came of a try: its `faults`, a line each, and the part's own figures."""
Attempt = Callable[[int], Result]
"""Makes the try of a number; the same one each time."""
NAMES = (*STAGES, "register")
"""A round's stages."""
CHANGES = {
    "pendulum": SMALL,
    "takecover": {"smoke.takecover.collect": {"shard_episodes": 1}},
}
"""Parameters with which there is something to kill in each stage."""


@dataclass(frozen=True)
class Part:
    """One way to harm a pipeline."""

    name: str
    tries: int
    begin: Callable[[Path], AbstractContextManager[Attempt]]
    """Makes ready, in a folder of its own, and gives what makes the tries."""
    told: Callable[[list[Result]], str]
    """Says in a line what came of them."""


def finished(folder: Path, task: str) -> Path:
    """A project in which a task's pipeline has run; it is made where it is not there yet."""
    project, whole = folder / task, folder / f"{task}.made"
    if not whole.exists():
        shutil.rmtree(project, ignore_errors=True)
        project.mkdir(parents=True)
        make_finished(project, [task], CHANGES[task])
        whole.touch()
    return project


@contextmanager
def copied(project: Path) -> Iterator[Path]:
    """A copy of a finished project, as long as the block."""
    with TemporaryDirectory(prefix="try-", dir=project.parent) as folder:
        copy = Path(folder, project.name)
        copy_finished(project, copy)
        yield copy


def locked(project: Path) -> dict[str, Any]:
    """What dvc.lock says of each stage: the hashes of all that it has read and written."""
    stages: dict[str, Any] = load_yaml(project / "dvc.lock")["stages"]
    return stages


def differing(project: Path, reference: Path) -> list[str]:
    """Faults: stages whose results are not those of the reference."""
    now, then = locked(project), locked(reference)
    return [f"{name}: other bytes" for name in then if now.get(name) != then[name]]
