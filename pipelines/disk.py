"""What results, half-done work and runs take of the disk: `python -m pipelines.disk`.

`--clean` removes what nothing needs: no commit, no experiment, no kept run, no registered agent, no
stage that has not finished. `dvc gc` knows none of the last three.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dvc.exceptions import DvcException
from dvc.prompt import confirm
from dvc.repo import Repo
from dvc.utils.humanize import naturalsize

from pipelines.dvc import cache
from pipelines.dvc.lineage import COMES_FROM
from pipelines.dvc.repair import has_dvc, held, is_in_use
from pipelines.dvc.resume import INPUTS, finished_states, remove_state
from pipelines.results import RESULTS
from world_models.runtime.errors import WorldModelsError
from world_models.tracking.client import existing_store, present_uri
from world_models.tracking.embedded import default_uri
from world_models.tracking.registry import artifacts_of_versions
from world_models.tracking.stored import discard, stored

CACHE, STATES, ARTIFACTS = Path(".dvc", "cache"), Path(".state"), Path("mlartifacts")
"""The folders that grow, in the project's own."""
STORE = "mlflow.db"
NOTHING = "nothing"
"""What that is for which can go."""
BLOCK = 512
"""Bytes that the system counts a file's place on the disk by."""


class Taken(NamedTuple):
    """How much of the disk."""

    files: int
    bytes: int


class Part(NamedTuple):
    """Some of what lies in one of these folders."""

    folder: Path
    purpose: str
    paths: Sequence[Path]
    """Files and folders."""
    remove: Callable[[Path], None] | None = None
    """Removes one of them; None where something needs them."""


def parts(repo: Repo) -> Iterator[Part]:
    """Yields all that lies in the folders that grow, by what it is for.

    Raises DamagedError where what is needed can't be read, TrackingError where MLflow does not
    answer: then nobody knows what can go.
    """
    root = Path(repo.root_dir)
    yield from cache_parts(repo, root)
    yield from state_parts(root, Path(repo.stage_cache.cache_dir))
    yield from artifact_parts(root)


def cache_parts(repo: Repo, root: Path) -> Iterator[Part]:
    """Yields the objects of DVC's cache; those with several purposes are of the first."""
    objects, run_cache = cache.objects(repo), Path(repo.stage_cache.cache_dir)
    left = dict(objects)
    for purpose, needed in purposes(repo, root).items():
        whole = cache.with_members(cache.led_to(needed, run_cache), objects)
        yield Part(CACHE, purpose, [left.pop(oid) for oid in whole & left.keys()])
    # Lists of folders' files first: without some of its files one would be no use.
    unused = sorted(left.values(), key=lambda path: path.suffix != ".dir")
    yield from can_go(root, CACHE, unused, Path.unlink)


def purposes(repo: Repo, root: Path) -> dict[str, set[str]]:
    """Returns what the cache is for, and the hashes that each of it needs."""
    locks = cache.in_folder(repo)
    kept = {path for path in locks if RESULTS in path.parents}
    inputs = [state / INPUTS for state in unfinished(root, Path(repo.stage_cache.cache_dir))]
    texts = [file.read_text() for file in inputs if file.exists()]
    return {
        "dvc.lock as it is": set().union(*(locks[path] for path in locks.keys() - kept)),
        "kept runs": set().union(*(locks[path] for path in kept)),
        "commits": cache.in_commits(repo),
        "experiments": cache.in_experiments(repo),
        "registered agents": set().union(*map(cache.hashes, registered(root))),
        "unfinished stages": set().union(*map(cache.hashes, texts)),
    }


def registered(root: Path) -> Iterator[str]:
    """Yields what each registered agent comes from: of the project's own store and of a server."""
    embedded = default_uri(root)
    for uri in {embedded, present_uri()}:
        if uri != embedded or (root / STORE).exists():
            yield from artifacts_of_versions(existing_store(uri), COMES_FROM)


def state_parts(root: Path, run_cache: Path) -> Iterator[Part]:
    """Yields what stages have kept of their work."""
    for state in unfinished(root, run_cache):
        yield Part(STATES, f"{state.parent.name}, unfinished", [state])
    over = finished_states(root / STATES, run_cache)
    yield from can_go(root, STATES, over, partial(remove_state, run_cache=run_cache))


def unfinished(root: Path, run_cache: Path) -> list[Path]:
    """Returns the states that a stage will go on from."""
    over = finished_states(root / STATES, run_cache)
    return sorted(state for state in (root / STATES).glob("*/*") if state not in over)


def artifact_parts(root: Path) -> Iterator[Part]:
    """Yields what MLflow keeps of runs and models, where its store is the project's own."""
    if (root / STORE).exists():
        client = existing_store(default_uri(root))
        found = {one.files: one for one in stored(client)}
        agents = {path for path, one in found.items() if one.registered}
        gone = {path for path, one in found.items() if one.deleted} - agents
        runs = found.keys() - agents - gone
        yield Part(ARTIFACTS, "registered agents", in_folder(root / ARTIFACTS, agents))
        yield Part(ARTIFACTS, "runs", in_folder(root / ARTIFACTS, runs))
        yield from can_go(root, ARTIFACTS, gone, lambda path: discard(client, found[path]))
    yield Part(ARTIFACTS, f"unknown to {STORE}", [root / ARTIFACTS])


def can_go(
    root: Path, folder: Path, paths: Iterable[Path], remove: Callable[[Path], None]
) -> Iterator[Part]:
    """Yields what nothing needs; what does not lie in the project's folder itself stays."""
    here = in_folder(root / folder, paths)
    yield Part(folder, NOTHING, here, remove)
    yield Part(folder, f"{NOTHING}, but it lies elsewhere", [*set(paths) - set(here)])


def in_folder(folder: Path, paths: Iterable[Path]) -> list[Path]:
    """Returns those paths that lie in a folder, with no link on the way there."""
    return [path for path in paths if path.is_relative_to(folder) and path.resolve() == path]


def show(found: Iterable[Part]) -> Taken:
    """Prints a table, and returns what of it can go."""
    counted, unneeded = set[tuple[int, int]](), Taken(0, 0)
    print(f"{'folder':14}{'for':34}{'files':>8}{'size':>8}")
    for part in found:
        taken = measured(part.paths, counted)
        if taken.files:
            size = naturalsize(taken.bytes)
            print(f"{part.folder!s:14}{part.purpose:34}{taken.files:8}{size:>8}")
        if part.remove is not None:
            unneeded = Taken(unneeded.files + taken.files, unneeded.bytes + taken.bytes)
    return unneeded


def measured(paths: Iterable[Path], counted: set[tuple[int, int]]) -> Taken:
    """Returns what files and folders take, but for what was counted: a file may have many names."""
    sizes = {}
    for path in paths:
        inside = [Path(at, name) for at, _, names in os.walk(path) for name in names]
        for file in inside if path.is_dir() else [path]:
            with suppress(FileNotFoundError):  # of a run without artifacts, or gone meanwhile
                found = file.lstat()
                sizes[found.st_dev, found.st_ino] = found.st_blocks * BLOCK
    own = sizes.keys() - counted
    counted |= own
    return Taken(len(own), sum(sizes[inode] for inode in own))


def clean(repo: Repo, force: bool) -> None:
    """Shows what there is, and removes what nothing needs, after a yes or if that is forced.

    Raises WorldModelsError where a dvc is at work, which may need what nobody knows of yet.
    """
    with held(repo) as alone:
        if not alone or is_in_use(repo) or has_dvc(Path(repo.root_dir)):
            raise WorldModelsError("a dvc is at work in this project: wait until it has ended")
        found = list(parts(repo))
        taken = show(found)
        what = f"{naturalsize(taken.bytes)} in {taken.files} files"
        unneeded = [(path, part.remove) for part in found if part.remove for path in part.paths]
        if not unneeded:
            print("nothing can go")
        elif force or confirm(f"Remove what nothing needs, {what}?"):
            for path, remove in unneeded:
                remove(path)
            print(f"removed: {what}")
        else:
            print("nothing was removed; --force removes without asking")


def main() -> None:
    """Shows what takes the disk; what a user can fix is one line on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="disk", description="Show what takes the disk.")
    parser.add_argument("--clean", action="store_true", help="remove what nothing needs")
    parser.add_argument("--force", action="store_true", help="don't ask")
    options = parser.parse_args()
    try:
        with Repo() as repo:
            if options.clean:
                clean(repo, options.force)
            elif show(parts(repo)).files:
                print("`world-models disk --clean` removes what nothing needs")
    except (WorldModelsError, DvcException, OSError) as error:
        sys.exit(f"disk: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
