"""Where a stage keeps what it has done, and whether it goes on from there.

`.state/<stage>@<round>/<key>/`, by DVC's key of it: equal keys have equal results, so what one
process has begun any later one may finish. A stage that ends deletes nothing, as a kill before DVC
has taken its results has to lose nothing; what DVC has goes when the next stage begins.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from world_models.runtime.files import atomic_write, empty

BY_HAND = "by-hand"
"""The key of a stage that DVC doesn't run: it always starts afresh."""
ENDED = "ended"
"""The file of a state that is there when the stage has ended well."""
INPUTS = "inputs.json"
"""The file of a state that says what the stage reads."""


@contextmanager
def held_state(states: Path, stage: str, key: str, run_cache: Path | None) -> Iterator[Path]:
    """Holds the stage's folder for as long as the block, and waits for another that has it.

    The folder is empty where the stage is to start afresh: by hand, and when DVC has its result
    already and runs it all the same, as `dvc repro --force` does.

    Args:
        states: the folder of all states.
        stage: e.g. `vae@carracing`.
        key: DVC's, or `BY_HAND`, which says nothing of what the stage reads.
        run_cache: DVC's folder of the results that it has, by key; None by hand.
    """
    for finished in finished_states(states, run_cache):
        remove_state(finished, run_cache)
    folder = states / stage / key
    with _alone_in(folder, stage):
        if key == BY_HAND:
            empty(folder)
        yield folder
        (folder / ENDED).touch()


def run_name(state: Path) -> str:
    """Returns a name for the run of a state, the same whenever the stage goes on."""
    file = state / "run"
    if not file.exists():
        with atomic_write(file) as aside:
            aside.write_text(uuid4().hex)
    return file.read_text()


def note_inputs(state: Path, inputs: Mapping[str, str]) -> None:
    """Writes down what a stage reads, md5 by path: it is needed for as long as the state is."""
    with atomic_write(state / INPUTS) as aside:
        aside.write_text(json.dumps(inputs))


def finished_states(states: Path, run_cache: Path | None) -> list[Path]:
    """Returns the folders of all states that nobody will go on from, and that nobody holds."""
    return [
        folder
        for folder in states.glob("*/*")
        if _is_done_with(folder, run_cache) and not _is_held(folder)
    ]


def remove_state(folder: Path, run_cache: Path | None) -> None:
    """Removes a state that nobody will go on from, unless it is in use."""
    lock = _lock(folder, wait=False)
    if lock is not None:
        if _is_done_with(folder, run_cache):  # still
            empty(folder, last=ENDED)
            folder.rmdir()
        os.close(lock)


def _is_done_with(folder: Path, run_cache: Path | None) -> bool:
    """Whether the stage has ended, and DVC has the result, or was run by hand: it starts afresh."""
    if folder.name == BY_HAND:
        return True
    if run_cache is None or not (folder / ENDED).exists():
        return False
    return any((run_cache / folder.name[:2] / folder.name).glob("*"))


@contextmanager
def _alone_in(folder: Path, stage: str) -> Iterator[None]:
    """Holds a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder, wait=False)
    if lock is None:
        print(f"{stage}: another process is making the same; waiting for it", file=sys.stderr)
    while lock is None:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder, wait=True)
    try:
        yield
    finally:
        os.close(lock)


def _is_held(folder: Path) -> bool:
    """Whether a stage is at work in a folder just now."""
    lock = _lock(folder, wait=False)
    if lock is None:
        return True
    os.close(lock)
    return False


def _lock(folder: Path, wait: bool) -> int | None:
    """A descriptor that holds a folder while it is open; None where it is another's, or gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.fstat(descriptor).st_nlink > 0:
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None
