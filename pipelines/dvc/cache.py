"""What DVC's cache holds, and what of it is needed.

A hash that stands in any dvc.lock that git or the folder has is needed, and so is what its file was
made from. DVC's own `dvc gc` asks the stages that dvc.yaml has at the moment, which takes it a
second for each commit, and drops the results of a round that params.yaml doesn't list any more.
"""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from dvc.repo import Repo
from dvc.scm import NoSCM

from pipelines.dvc.repair import is_lockfile
from pipelines.git import git
from world_models.runtime.errors import DamagedError

HASH = re.compile(r"\b[0-9a-f]{32}(?:\.dir)?\b")
"""As DVC writes it: the md5 of a file, or that of a folder's list of files."""
LOCK = re.compile(r"(.*/)?(dvc\.lock|[^/]+\.dvc)")
"""The path of a file in which DVC writes hashes."""
EXPERIMENTS = "refs/exps"
"""Where DVC has git keep experiments, those that wait in its queue too."""
STASH = "refs/stash"


def hashes(text: str) -> set[str]:
    """Returns the hashes that stand in a text."""
    return set(HASH.findall(text))


def objects(repo: Repo) -> dict[str, Path]:
    """Returns the files of the cache, by hash."""
    files = Path(repo.cache.local.path).glob("??/*")
    found = {f"{file.parent.name}{file.name}": file for file in files}
    return {oid: file for oid, file in found.items() if HASH.fullmatch(oid)}


def in_folder(repo: Repo) -> dict[Path, set[str]]:
    """Returns the hashes in each lock of the working folder, whether git knows it or not.

    Raises DamagedError for one that was cut short: what it does not name any more would be lost.
    """
    root, found = Path(repo.root_dir), {}
    for file in map(Path, repo.dvcignore.find(repo.fs, repo.root_dir)):
        path = file.relative_to(root)
        if LOCK.fullmatch(path.as_posix()):
            if path.name == "dvc.lock" and not is_lockfile(file):
                remedy = "`python -m pipelines.dvc.repair` repairs that of the project"
                raise DamagedError(f"{path}: damaged: {remedy}")
            found[path] = hashes(file.read_text())
    return found


def in_commits(repo: Repo) -> set[str]:
    """Returns the hashes in all commits of all branches and tags, and in what is staged."""
    others = [f"--exclude={refs}" for refs in (f"{EXPERIMENTS}/*", STASH)]
    return _in_git(repo, "--indexed-objects", *others, "--all")


def in_experiments(repo: Repo) -> set[str]:
    """Returns the hashes in DVC's experiments, and in all that DVC or a user has stashed."""
    if isinstance(repo.scm, NoSCM):
        return set()
    refs = _git(repo, "for-each-ref", "--format=%(refname)", EXPERIMENTS, STASH).split()
    # Of a stash only the log of its reference knows more than the last.
    stashed = _git(repo, "log", "--walk-reflogs", "--format=%H", *refs).split() if refs else []
    return _in_git(repo, *refs, *stashed)


def _in_git(repo: Repo, *revisions: str) -> set[str]:
    """The hashes in all locks that there have been on the way to some commits."""
    if isinstance(repo.scm, NoSCM):
        return set()
    listed = _git(repo, "rev-list", "--objects", *revisions).splitlines()
    named = [line.partition(" ") for line in listed]
    locks = [number for number, _, path in named if LOCK.fullmatch(path)]
    return hashes(_git(repo, "cat-file", "--batch", given="\n".join(locks)))


def _git(repo: Repo, *arguments: str, given: str = "") -> str:
    return git("-C", repo.root_dir, *arguments, given=given.encode()).decode(errors="replace")


def led_to(needed: Iterable[str], run_cache: Path) -> set[str]:
    """Returns these hashes, and those of all that was read to make them, as the run cache has it.

    Without the latter DVC would make a file again although it is there, for it begins at the
    beginning.
    """
    entries = (entry.read_text().partition("\nouts:") for entry in run_cache.glob("*/*/*"))
    made = [(hashes(read), hashes(written)) for read, _, written in entries]
    found = set(needed)
    while more := {dep for deps, outs in made if outs & found for dep in deps} - found:
        found |= more
    return found


def with_members(needed: Iterable[str], cache: dict[str, Path]) -> set[str]:
    """Returns these hashes, and those of the files in the folders among them.

    Raises DamagedError for a folder whose list of files is not what was written.
    """
    found = set(needed)
    for folder in [oid for oid in found if oid.endswith(".dir") and oid in cache]:
        text, path = cache[folder].read_bytes(), os.path.relpath(cache[folder])
        if f"{hashlib.md5(text).hexdigest()}.dir" != folder:
            remedy = f"remove it with `rm -f {path}`, then `dvc repro` makes what dvc.lock names"
            raise DamagedError(f"{path}: damaged: not what was written; {remedy}")
        found |= hashes(text.decode())
    return found
