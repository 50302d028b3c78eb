"""Episodes on disk: shards of a few episodes, each one Zarr 3 group in one zip file.

A shard is written aside and renamed, so a file that is there is whole; zip's directory at the
file's end and its checksums tell one that was damaged later. Episodes lie end to end in a shard's
arrays: an episode of T steps has T + 1 rows in arrays of frames and T in arrays of steps.

Pictures are compressed, in chunks. Latents and steps are not, and each array is one chunk: so an
episode's rows are read straight from the file, where Zarr would take milliseconds for each.
"""

import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import zarr
from zarr.codecs import BloscCodec
from zarr.storage import MemoryStore, ZipStore

from world_models.runtime.errors import StoreError
from world_models.runtime.files import atomic_write, link_or_copy

CHUNK = 100
"""Frames a chunk: what is decompressed at a time."""
COMPRESSED = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")
OPEN_SHARDS = 64
"""Kept open at a time: opening one takes as long as reading hundreds of frames."""
LOCAL_HEADER = 30
"""Bytes of what stands before an entry of a zip file, without its name and what is extra."""
OPENED = ("_open", "_arrays")
"""What a store of episodes keeps for as long as it is in this process."""
METADATA = "zarr.json"
"""Where Zarr describes a group or an array."""
PLAIN = [[("bytes", {})], [("bytes", {"endian": "little"})]]
"""The codecs of an array whose numbers lie in its chunks as they are."""
DESCRIBED = ("seeds", "terminated", "rounds", "policies")
"""A shard's lists of what is said of its episodes."""
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The date of every zip entry, so that equal episodes make equal bytes."""

_DAMAGE = (OSError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, RuntimeError)
"""What reading a damaged shard raises."""


class _PlainZarr:
    """Zarr as it comes, for as long as any thread is in the block.

    What a user's variables and files say, such as ZARR_ARRAY__ORDER, is meant for other work.
    """

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._users = zarr.config.set(zarr.config.defaults[0])
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._users.__exit__(None, None, None)


_plain_zarr = _PlainZarr()


@dataclass(frozen=True)
class Episode:
    """One episode: transition t is frame t, action t, reward t, frame t + 1.

    Attributes:
        seed: the seed that the game was reset with.
        terminated: the game ended the episode (not its time limit).
        frames: arrays with a row for each of T + 1 frames: `frames` (T + 1, 64, 64, 3) uint8, or
            `mu` and `logvar` (T + 1, z) float32.
        steps: arrays with a row for each of T steps: `actions` (T, a) float32 in [-1, 1], `rewards`
            (T,) float32.
        round: which round of the task it was played in.
        policy: who played it.
    """

    seed: int
    terminated: bool
    frames: dict[str, np.ndarray]
    steps: dict[str, np.ndarray]
    round: str
    policy: str

    def __len__(self) -> int:
        """T, the number of steps."""
        return len(self.steps["rewards"])


@dataclass(frozen=True)
class EpisodeAt:
    """Where an episode lies in the store, and what `Episode` says of it besides its arrays."""

    shard: Path
    """The file."""
    index: int
    """Its number in that shard, from 0 on."""
    seed: int
    terminated: bool
    round: str
    policy: str
    start: int
    """Row of its first step in the shard's arrays of steps; frames start at `start + index`."""
    length: int
    """T, its number of steps."""


def shard_path(folder: str | Path, number: int) -> Path:
    """Returns the file of one shard."""
    return Path(folder, f"shard-{number:05d}.zarr.zip")


def write_shard(path: str | Path, episodes: Sequence[Episode], total: int) -> None:
    """Writes episodes as a shard, or nothing at all.

    There is at least one, and all have arrays of the same names. `total` is how many shards the
    folder has when the shard's round is done.
    """
    with _plain_zarr:
        entries = _entries(episodes, total)
    _write_zip(path, entries)


def _entries(episodes: Sequence[Episode], total: int) -> dict[str, bytes]:
    """A shard's files, by their names."""
    store = MemoryStore()
    group = zarr.create_group(
        store,
        zarr_format=3,
        attributes={
            "shards": total,
            "seeds": [episode.seed for episode in episodes],
            "terminated": [episode.terminated for episode in episodes],
            "rounds": [episode.round for episode in episodes],
            "policies": [episode.policy for episode in episodes],
            "lengths": [len(episode) for episode in episodes],
        },
    )
    for kind in ("frames", "steps"):
        for name in getattr(episodes[0], kind):
            rows = np.concatenate([getattr(episode, kind)[name] for episode in episodes])
            pictures = name == "frames"
            group.create_array(
                f"{kind}/{name}",
                data=rows,
                chunks=(CHUNK if pictures else len(rows), *rows.shape[1:]),
                compressors=COMPRESSED if pictures else None,
                config={"write_empty_chunks": True},  # one that is all zeros is read as others are
            )
    return {name: value.to_bytes() for name, value in store._store_dict.items()}


def _write_zip(path: str | Path, entries: Mapping[str, bytes]) -> None:
    with atomic_write(path) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as file:
        for name in sorted(entries):
            file.writestr(zipfile.ZipInfo(name, LONG_AGO), entries[name])


def whole_shards(folder: str | Path) -> list[Path]:
    """Returns the shards in a folder that can be opened; the folder may not be there yet."""
    return [shard for shard in _shards(folder) if _opens(shard)]


def _shards(folder: str | Path) -> list[Path]:
    return sorted(Path(folder).glob("shard-*.zarr.zip"))


def _opens(shard: Path) -> bool:
    try:
        _attributes(shard)
    except StoreError:
        return False
    return True


def link_shards(source: str | Path, folder: str | Path) -> None:
    """Makes a folder, or makes it anew, of a whole data set's shards, which stay where they are."""
    with atomic_write(folder) as aside:
        aside.mkdir()
        add_shards(EpisodeStore(source), aside)


def add_shards(store: "EpisodeStore", folder: str | Path) -> None:
    """Puts a data set's shards into a folder that is there; those that it has whole stay."""
    whole = whole_shards(folder)
    for shard in store.shards:
        target = Path(folder, shard.name)
        if target not in whole:
            target.unlink(missing_ok=True)
            link_or_copy(shard, target)


class EpisodeReader:
    """Reads episodes of any shards, one or a part of one at a time.

    Raises StoreError, naming the file, where a shard is missing or damaged.
    """

    @cached_property
    def _open(self) -> Callable[[Path], zarr.Group]:
        """Opens a shard, unless it is open."""
        return lru_cache(OPEN_SHARDS)(_open)

    @cached_property
    def _arrays(self) -> Callable[[Path], dict[str, "PlainArray | None"]]:
        """Finds the arrays of a shard, unless they have been found."""
        return lru_cache(None)(_arrays)

    def __getstate__(self) -> dict[str, Any]:
        """Without the open files: they are no other process's."""
        return {name: value for name, value in vars(self).items() if name not in OPENED}

    def read_frames(
        self, at: EpisodeAt, name: str, start: int = 0, stop: int | None = None
    ) -> np.ndarray:
        """Reads rows start to stop of one of an episode's arrays of frames.

        Of `frames` that is (stop - start, 64, 64, 3) uint8, of `mu` and `logvar` (stop - start, z)
        float32. Raises StoreError where the shard is damaged, or has no such array.
        """
        stop = at.length + 1 if stop is None else stop
        first = at.start + at.index
        with _damage_named(at.shard):
            return self._rows(at.shard, f"frames/{name}", first + start, first + stop)

    def read(self, at: EpisodeAt) -> Episode:
        """Reads a whole episode; raises StoreError where its shard is damaged."""
        first = at.start + at.index
        rows = {"frames": (first, first + at.length + 1), "steps": (at.start, at.start + at.length)}
        read: dict[str, dict[str, np.ndarray]] = {"frames": {}, "steps": {}}
        with _damage_named(at.shard):
            for path in self._arrays(at.shard):
                kind, name = path.split("/")
                read[kind][name] = self._rows(at.shard, path, *rows[kind])
        return Episode(at.seed, at.terminated, **read, round=at.round, policy=at.policy)

    def _rows(self, shard: Path, path: str, start: int, stop: int) -> np.ndarray:
        plain = self._arrays(shard)[path]
        if plain is not None:
            return plain.read(shard, start, stop)
        with _plain_zarr:
            array = self._open(shard)[path]
            assert isinstance(array, zarr.Array)
            return np.asarray(array[start:stop])


class EpisodeStore(EpisodeReader):
    """The shards of a folder. A round's folder begins with those of the rounds before it.

    Raises StoreError, naming the file, where a shard is missing, damaged or of another data set.
    """

    def __init__(self, folder: str | Path) -> None:
        """Opens a folder; `shards` are its files in order, `totals` how many there should be."""
        self.folder, self.shards = Path(folder), _shards(folder)
        if not self.shards:
            raise StoreError(folder, "missing: it holds no shards")
        attributes = {shard: _attributes(shard) for shard in self.shards}
        self.totals: dict[str, int] = {}
        """How many shards there are with each round's."""
        self._require_all(attributes)
        self._episodes = [at for shard in self.shards for at in _contents(shard, attributes[shard])]

    def _require_all(self, attributes: Mapping[Path, Mapping[str, Any]]) -> None:
        for shard, found in attributes.items():
            total = self.totals.setdefault(found["rounds"][0], found["shards"])
            if found["shards"] != total:
                fault = f"one of {found['shards']} shards, and others are of {total}"
                raise StoreError(shard, fault)
        missing = {shard_path(self.folder, n) for n in range(max(self.totals.values()))}
        missing -= set(self.shards)
        if missing:
            raise StoreError(min(missing), "missing")

    def episodes(self) -> list[EpisodeAt]:
        """Returns every episode of the store, in order."""
        return list(self._episodes)


def read_shard(shard: Path) -> Iterator[Episode]:
    """Reads one shard's episodes, wherever the others of its data set are.

    Raises StoreError where it is missing or damaged.
    """
    reader = EpisodeReader()
    yield from map(reader.read, _contents(shard, _attributes(shard)))


class PlainArray(NamedTuple):
    """An array whose rows lie in the shard's file as they are, one after the other."""

    written: tuple[int, int]
    """The file's size and its time of change: in another file the rows lie elsewhere."""
    offset: int
    """Where in the file."""
    dtype: np.dtype[Any]
    row: tuple[int, ...]
    """The shape of a row."""

    def read(self, shard: Path, start: int, stop: int) -> np.ndarray:
        """Reads rows start to stop; raises ValueError where the file is another one by now."""
        if _written(shard) != self.written:
            raise ValueError("it was written anew while it was read")
        size = math.prod(self.row)
        offset = self.offset + start * size * self.dtype.itemsize
        flat = np.fromfile(shard, self.dtype, (stop - start) * size, offset=offset)
        return flat.reshape(stop - start, *self.row)


def _arrays(shard: Path) -> dict[str, PlainArray | None]:
    """Finds a shard's arrays, `KIND/NAME`; None stands for one that Zarr has to read."""
    written = _written(shard)
    with zipfile.ZipFile(shard) as file:
        names = [name for name in file.namelist() if name.endswith(f"/{METADATA}")]
        found = {name.removesuffix(f"/{METADATA}"): json.loads(file.read(name)) for name in names}
        return {
            path: _plain_array(file, path, array, written)
            for path, array in found.items()
            if array["node_type"] == "array"
        }


def _plain_array(
    file: zipfile.ZipFile, path: str, array: Mapping[str, Any], written: tuple[int, int]
) -> PlainArray | None:
    shape, chunk = array["shape"], array["chunk_grid"]["configuration"]["chunk_shape"]
    codecs = [(codec["name"], codec.get("configuration", {})) for codec in array["codecs"]]
    if chunk != shape or codecs not in PLAIN:
        return None
    entry = file.getinfo("/".join([path, "c", *"0" * len(shape)]))
    dtype = np.dtype(array["data_type"]).newbyteorder("<")
    if entry.compress_type != zipfile.ZIP_STORED:
        return None
    if len(file.read(entry)) != math.prod(shape) * dtype.itemsize:  # and its checksum is right
        raise ValueError(f"{path} has {entry.file_size} bytes")
    return PlainArray(written, _start_of(file, entry), dtype, tuple(shape[1:]))


def _written(shard: Path) -> tuple[int, int]:
    found = shard.stat()
    return found.st_size, found.st_mtime_ns


def _start_of(file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """Returns where in the file the bytes of an entry begin."""
    assert file.fp is not None
    file.fp.seek(entry.header_offset)
    name, extra = struct.unpack("<26xHH", file.fp.read(LOCAL_HEADER))
    return entry.header_offset + LOCAL_HEADER + int(name) + int(extra)


def _contents(shard: Path, attributes: Mapping[str, Any]) -> list[EpisodeAt]:
    starts = np.cumsum([0, *attributes["lengths"]]).tolist()
    columns = [attributes[key] for key in DESCRIBED] + [starts[:-1], attributes["lengths"]]
    return [
        EpisodeAt(shard, index, seed, ended, round_, policy, start, length)
        for index, (seed, ended, round_, policy, start, length) in enumerate(
            zip(*columns, strict=True)
        )
    ]


def _attributes(shard: Path) -> dict[str, Any]:
    with _damage_named(shard), zipfile.ZipFile(shard) as file:
        _check_names(file)
        attributes = json.loads(file.read(METADATA))["attributes"]
        return {key: attributes[key] for key in ("shards", *DESCRIBED, "lengths")}


def _check_names(file: zipfile.ZipFile) -> None:
    """Zip's directory has no checksum; but each name stands once more before its entry.

    Without this a chunk whose name is damaged would be read as zeros.
    """
    for entry in file.infolist():
        file.open(entry).close()


def _open(shard: Path) -> zarr.Group:
    """The shard's group, whose file is closed when nobody holds it any more."""
    zipfile.ZipFile(shard).close()  # a ZipStore of a file that is no zip can't be closed
    return zarr.open_group(ZipStore(shard, mode="r"), mode="r")


@contextmanager
def _damage_named(shard: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        what = f"damaged ({error})" if shard.exists() else "missing"
        raise StoreError(shard, what) from error
