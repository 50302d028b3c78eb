"""Files and folders that are either whole or not there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def made_whole(path: Path) -> Iterator[Path]:
    """A path to write a file or a folder to, which becomes `path` if all goes well.

    Until then `path` stays as it was; on any error, Ctrl-C and a full disk included, what was
    written goes away. What lies at `path` is replaced, never written into: it may be a link into
    DVC's cache.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".part-{path.name}")
    _remove(aside)
    try:
        yield aside
        if path.is_dir():
            _remove(path)
        os.replace(aside, path)
    finally:
        _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
