"""Bits that flip in shards, checkpoints and DVC's cache: is what is damaged ever loaded?"""

import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from dvc.exceptions import DvcException
from dvc.repo import Repo

from benchmarks.survival.part import Attempt, Part, Result, finished, locked
from pipelines.dvc.verify import verify_inputs
from tests.damage import flip_a_bit
from world_models.data.store import EpisodeStore
from world_models.runtime.errors import WorldModelsError

CACHE = Path(".dvc", "cache", "files", "md5")


class Target(NamedTuple):
    """A file that a bit of may flip."""

    kind: str
    file: Path
    out: str
    """What a stage has written, as dvc.lock names it: the file, or the folder that it is of."""
    reader: str
    """A stage that reads it."""


@contextmanager
def begin(folder: Path) -> Iterator[Attempt]:
    """Has the stages of a copy read what is damaged there, as they do before they work."""
    project = finished(folder, "pendulum")
    with TemporaryDirectory(prefix="try-", dir=folder) as place:
        # Whole: a cache that is linked would be damaged in the project too.
        copy = shutil.copytree(project, Path(place, project.name))
        with chdir(copy):
            chosen = list(targets(copy))
            for reader in {target.reader for target in chosen}:
                verify_inputs(reader)  # from now on DVC remembers the bytes
            yield attempt_on(chosen)


def attempt_on(chosen: list[Target]) -> Attempt:
    """Flips a bit of one of these files."""
    kinds = sorted({target.kind for target in chosen})
    written = {out: contents(Path(out)) for out in {target.out for target in chosen}}

    def attempt(number: int) -> Result:
        chance, kind = random.Random(number), kinds[number % len(kinds)]
        target = chance.choice([target for target in chosen if target.kind == kind])
        place, bit = chance.randrange(target.file.stat().st_size), chance.randrange(8)
        with damaged(target, place, bit):
            said = complaint(target)
            if not said and contents(Path(target.out)) == written[target.out]:
                said = "what is loaded is whole"
        where = f"{target.file}, byte {place}, bit {bit}"
        return {
            "kind": kind,
            "where": where,
            "said": said,
            "faults": [] if said else [f"{where}: {target.reader} loads it"],
        }

    return attempt


def targets(project: Path) -> Iterator[Target]:
    """The data and models that a stage reads, and the objects of the cache that they come from."""
    stages = locked(project)
    for out in [out for stage in stages.values() for out in stage.get("outs", [])]:
        path, md5 = Path(out["path"]), out["md5"]
        readers = [
            name
            for name, stage in stages.items()
            if out["path"] in [dep["path"] for dep in stage.get("deps", [])]
        ]
        if path.parts[0] in ("data", "models") and readers:
            kind = "checkpoint" if path.suffix == ".safetensors" else "shard"
            for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                yield Target(kind, file, out["path"], readers[0])
            for name in [md5, *members(CACHE / md5[:2] / md5[2:])]:
                yield Target("cache", CACHE / name[:2] / name[2:], out["path"], readers[0])


def members(cached: Path) -> list[str]:
    """The hashes of the files in a folder of the cache; none of a file."""
    if cached.suffix != ".dir":
        return []
    return [entry["md5"] for entry in json.loads(cached.read_text())]


@contextmanager
def damaged(target: Target, place: int, bit: int) -> Iterator[None]:
    """A bit of a file is another as long as the block; one of the cache is brought out again."""
    whole, mode = target.file.read_bytes(), target.file.stat().st_mode
    flip_a_bit(target.file, place, bit)
    try:
        yield
    finally:
        if target.file.exists():
            flip_a_bit(target.file, place, bit)
        else:  # DVC has removed what it has found damaged
            target.file.write_bytes(whole)
            target.file.chmod(mode)
        assert target.file.read_bytes() == whole
        if target.kind == "cache":
            bring_out(target.out)


def complaint(target: Target) -> str:
    """What is said where a stage is about to read a file; nothing where that is taken for whole."""
    try:
        if target.kind == "cache":
            bring_out(target.out)
        verify_inputs(target.reader)
        if Path(target.out).is_dir():  # of a folder's list of files a bit may be in a name
            EpisodeStore(Path(target.out))
    except (WorldModelsError, DvcException) as error:
        return str(error)
    return ""


def contents(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of all files in a folder, by name."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name: file.read_bytes() for file in files}


def bring_out(out: str) -> None:
    """Has DVC take what a stage has written from its cache."""
    with suppress(FileNotFoundError):
        shutil.rmtree(out) if Path(out).is_dir() else os.unlink(out)
    with Repo() as repo:
        repo.drop_data_index()  # DVC would not read a folder's list of files again
        repo.checkout([out], force=True)


def told(results: list[Result]) -> str:
    """How many of each kind there were."""
    kinds = [result["kind"] for result in results]
    return ", ".join(f"{kinds.count(kind)} in a {kind}" for kind in sorted(set(kinds)))


PART = Part("bits", 200, begin, told)
