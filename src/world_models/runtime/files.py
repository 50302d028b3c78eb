"""Files and folders that are either whole or not there, also after a kill or a power cut."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a path to write a file or a folder to, which becomes `path` if all goes well.

    Until then `path` stays as it was; on any error, Ctrl-C and a full disk included, what was
    written goes away. What lies at `path` is replaced, never written into: it may be a link into
    DVC's cache.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".part-{path.name}")
    _remove(aside)
    try:
        yield aside
        synchronize(aside)  # or a power cut could leave the new name without its contents
        if path.is_dir():
            _remove(path)
        os.replace(aside, path)
        _fsync(path.parent)
    finally:
        _remove(aside)


def synchronize(path: Path) -> None:
    """Waits until a file, or a folder with all that is in it, is on the disk itself."""
    for inside in path.iterdir() if path.is_dir() else ():
        synchronize(inside)
    _fsync(path)


def _fsync(path: Path) -> None:
    if sys.platform == "win32":  # it opens no folder, and flushes no file that is open to read
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a file a second name, or copies it where the disk can't have two names for one."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def empty(folder: Path, last: str = "") -> None:
    """Removes all that is in a folder, and what has the name `last` at the end."""
    for inside in sorted(folder.iterdir(), key=lambda path: path.name == last):
        _remove(inside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
