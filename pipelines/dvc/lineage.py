"""What DVC knows of a stage: its key, and the md5 of all that it reads and writes.

DVC has no public calls for this; its version is held to one minor release.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage


COMES_FROM = "register.json"
"""The report of what an agent comes from: the lineage of each stage."""


class Lineage(NamedTuple):
    """Where a stage's results come from."""

    key: str
    """Hash of its command, parameters, outputs' names and inputs: runs of equal keys have equal
    results. It names the entry in DVC's run cache."""
    inputs: dict[str, str]
    """md5 of each file and folder that it depends on, code too, by path."""
    outputs: dict[str, str]
    """The same of what it writes; of a stage that is about to run none."""


def lineage(name: str) -> Lineage:
    """Returns where a stage's results will come from, as it is about to run: `vae@carracing`."""
    from dvc.stage.cache import _get_stage_hash

    with _stage(name) as stage:
        stage.save_deps()
        return Lineage(str(_get_stage_hash(stage)), _md5s(stage.deps), {})


def committed(name: str) -> Lineage:
    """Returns where a stage's results have come from, as dvc.lock has it."""
    from dvc.stage.cache import _get_stage_hash

    with _stage(name) as stage:
        return Lineage(str(_get_stage_hash(stage)), _md5s(stage.deps), _md5s(stage.outs))


def outputs(name: str) -> dict[str, str]:
    """Returns the md5 of each file and folder that a stage has just written, by path."""
    with _stage(name) as stage:
        stage.save_outs()
        return _md5s(stage.outs)


def input_files(name: str) -> dict[str, tuple[str, str]]:
    """Returns md5 and place in the cache of each file that a stage reads, by path.

    The md5 is the one that DVC remembers, for as long as size and time of change are the same.
    """
    with _stage(name) as stage:
        stage.save_deps()
        cache, found, files = stage.repo.cache.local, {}, _md5s(stage.deps)
        for dep in (dep for dep in stage.deps if dep.def_path in files):
            for key, _, hashed in dep.obj if dep.is_dir_checksum else [((), None, dep.hash_info)]:
                path = "/".join((dep.def_path, *key))
                found[path] = (hashed.value, cache.oid_to_path(hashed.value))
        return found


def runner(name: str) -> int | None:
    """Returns the process id of the dvc that runs a stage; None where no dvc does."""
    with _stage(name) as stage:
        try:
            locks = json.loads(Path(str(stage.repo.tmp_dir), "rwlock").read_text())
        except (FileNotFoundError, ValueError):
            return os.getppid()  # another dvc is writing it, or it is damaged
        lock = locks.get("write", {}).get(stage.outs[0].fs_path)
        return lock and int(lock["pid"])


def run_cache() -> Path:
    """DVC's folder of the results that it has, by key: `ab/abcd…/`."""
    with repository() as repo:
        return Path(repo.stage_cache.cache_dir)


@contextmanager
def repository() -> "Iterator[Repo]":
    """DVC's view of the project, read once for all that is asked inside the block.

    Reading it takes DVC a fifth of a second.
    """
    from dvc.repo import Repo

    if _opened:
        yield _opened[0]
        return
    with Repo() as repo:
        _opened.append(repo)
        try:
            yield repo
        finally:
            _opened.clear()


_opened: "list[Repo]" = []
"""The one that is open, if one is."""


@contextmanager
def _stage(name: str) -> "Iterator[Stage]":
    with repository() as repo:
        stages = {stage.addressing: stage for stage in repo.index.stages}
        yield stages[name]


def _md5s(entries: Iterable[Any]) -> dict[str, str]:
    """Of files and folders; parameters have values instead."""
    found = {entry.def_path: entry.hash_info.value for entry in entries}
    return {path: md5 for path, md5 in found.items() if isinstance(md5, str)}
