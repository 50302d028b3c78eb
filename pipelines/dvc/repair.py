"""Repairs what a dvc that was killed leaves behind, so that the next one runs.

`make repro` calls it first. What DVC repairs itself is left to DVC, and where a dvc is at work
nothing is touched. It also has DVC do without git where there is none, and says so at once where
git refuses: DVC would fall over that once its first stage has run.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import zc.lockfile
from dvc.config import Config
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.stage.cache import _get_cache_hash
from dvc.utils.serialize import ParseError, load_yaml
from voluptuous import Invalid

from pipelines.git import has_repository, last_committed, revision
from world_models.runtime.errors import WorldModelsError
from world_models.runtime.files import atomic_write

GUARDS = ("lock", "rwlock.lock")
"""What dvc holds as it writes its lock file, dvc.lock or the run cache."""


def main() -> None:
    """Repairs the project in this folder, or says in one line why DVC can't run there."""
    try:
        revision()
        if not has_repository():
            do_without_git(Path(Repo.find_dvc_dir()))
        repair()
    except (WorldModelsError, DvcException) as error:
        sys.exit(f"repair: {' '.join(str(error).split())}")


def do_without_git(dvc: Path) -> None:
    """Tells DVC, in its folder, that the project is in no repository, unless it has been told."""
    config = Config(str(dvc))
    if not config["core"]["no_scm"]:
        say("no git repository here: DVC does without (core.no_scm in .dvc/config)")
        with config.edit("repo") as changed:
            changed["core"]["no_scm"] = True


def repair() -> None:
    """Repairs the project; does nothing while a dvc writes there."""
    with Repo() as repo, held(repo) as alone:
        if alone:
            root = Path(repo.root_dir)
            drop_stale_lock(repo)
            repair_lockfile(root / "dvc.lock")
            drop_torn_results(Path(repo.stage_cache.cache_dir))


@contextmanager
def held(repo: Repo) -> Iterator[bool]:
    """Keeps every dvc from writing for as long as the block; yields False where one does just now.

    A dvc whose stage is running does not write: `is_in_use` tells of it.
    """
    with ExitStack() as locks:
        alone = True
        try:
            for guard in GUARDS:
                lock = zc.lockfile.LockFile(str(Path(str(repo.tmp_dir), guard)))
                locks.callback(lock.close)
        except zc.lockfile.LockError:
            alone = False
        yield alone


def drop_stale_lock(repo: Repo) -> None:
    """Removes the list of files that dvcs read and write, where none of these dvcs is alive.

    DVC looks only at their process ids, which may be those of other processes by now, and refuses a
    list that was cut short.
    """
    path = Path(str(repo.tmp_dir), "rwlock")
    if path.exists() and not is_in_use(repo):
        path.unlink()


def is_in_use(repo: Repo) -> bool:
    """Returns whether a dvc that reads or writes the project's files is alive."""
    path, root = Path(str(repo.tmp_dir), "rwlock"), Path(repo.root_dir)
    try:
        return any(is_alive(info, root) for info in holders(json.loads(path.read_text())))
    except FileNotFoundError:
        return False
    except (ValueError, AttributeError, KeyError, TypeError):
        return has_dvc(root)


def has_dvc(root: Path) -> bool:
    """Returns whether any dvc is at work in this project, one of an experiment's copy too."""
    return any(is_dvc(process, root) for process in psutil.process_iter())


def holders(locks: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields each entry of the list: a process id and a command."""
    for mode in ("read", "write"):
        for info in locks.get(mode, {}).values():
            yield from info if isinstance(info, list) else [info]


def is_alive(info: dict[str, Any], root: Path) -> bool:
    """Returns whether the process that this entry names is the one that made it."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(info["pid"])
        return is_dvc(process, root) or info["cmd"] in " ".join(process.cmdline())
    return False


def is_dvc(process: psutil.Process, root: Path) -> bool:
    """Returns whether a process is a dvc at work in this project, as far as can be told."""
    try:
        inside = root in (cwd := Path(process.cwd()), *cwd.parents)
        return inside and any(Path(part).name == "dvc" for part in process.cmdline()[:4])
    except psutil.AccessDenied:
        return "dvc" in process.name()
    except psutil.NoSuchProcess:
        return False


def repair_lockfile(path: Path) -> None:
    """Puts git's dvc.lock in the place of one that was cut short; the run cache knows the rest."""
    if not path.exists() or is_lockfile(path):
        return
    kept = last_committed(path)
    say(f"{path.name}: damaged: " + ("begun anew" if kept is None else "git's is used"))
    if kept is None:
        path.unlink()
    else:
        with atomic_write(path) as aside:
            aside.write_bytes(kept)


def is_lockfile(path: Path) -> bool:
    """Returns whether DVC could read it, and its last line, which may end in a hash, is whole."""
    try:
        COMPILED_LOCKFILE_SCHEMA(load_yaml(str(path)))
    except (ParseError, Invalid):
        return False
    return path.read_bytes().endswith(b"\n")


def drop_torn_results(run_cache: Path) -> None:
    """Removes entries of the run cache that were not finished: DVC would fall over them."""
    for folder in run_cache.glob("*/*"):
        for entry in folder.iterdir():
            if not is_result(entry):
                say(f"run cache: {folder.name}: an unfinished entry removed")
                entry.unlink()
        with suppress(OSError):
            folder.rmdir()  # unless there is something in it


def is_result(entry: Path) -> bool:
    """Returns whether an entry is whole: its name is the hash of what it holds."""
    try:
        return bool(_get_cache_hash(load_yaml(str(entry))) == entry.name)
    except ParseError:
        return False


def say(line: str) -> None:
    """Tells the user what was repaired."""
    print(f"repair: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
