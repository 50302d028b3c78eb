"""Episodes on disk: what is written is read, and what is damaged is named."""

import errno
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec
from zarr.storage import ZipStore

from tests.episodes import write_episodes
from world_models.data.store import (
    CHUNK,
    Episode,
    EpisodeStore,
    link_shards,
    shard_path,
    whole_shards,
    write_shard,
)
from world_models.layout import explain
from world_models.runtime.errors import StoreError

ROOT = Path(__file__).parents[2]
OTHER_WORK = """
json_indent: 4
codec_pipeline:
  path: nowhere.Pipeline
"""
"""Settings of Zarr that a user has for other work, in a file of Zarr's."""
WRITE_AND_READ = """
import sys
from pathlib import Path
from tests.episodes import write_episodes
from world_models.data.store import EpisodeStore

project = Path(sys.argv[1])
write_episodes(project)
store = EpisodeStore(project / "data" / "pendulum" / "episodes")
frames = store.read(store.episodes()[0]).frames["frames"]
print(frames.shape, frames.flags.c_contiguous)
"""
LENGTHS = [5, 10 * CHUNK + 30, 1, CHUNK - 1]


def an_episode(seed, length):
    random = np.random.default_rng(seed)
    return Episode(
        seed,
        bool(seed % 2),
        {"frames": random.integers(0, 256, (length + 1, 4, 4, 3), np.uint8)},
        {
            "actions": random.uniform(-1, 1, (length, 2)).astype(np.float32),
            # The first of them are zeros, which Zarr might leave out.
            "rewards": np.where(seed == 0, 0, random.normal(size=length)).astype(np.float32),
        },
        "pendulum",
        "held",
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the data set of the task pendulum lies, in the project's folder."""
    monkeypatch.chdir(tmp_path)
    return Path("data", "pendulum", "episodes")


@pytest.fixture
def episodes(folder):
    """Two shards of them, written."""
    episodes = [an_episode(seed, length) for seed, length in enumerate(LENGTHS)]
    write_shard(shard_path(folder, 0), episodes[:3], 2)
    write_shard(shard_path(folder, 1), episodes[3:], 2)
    return episodes


def assert_equal_episodes(one, other):
    assert (one.seed, one.terminated, len(one)) == (other.seed, other.terminated, len(other))
    for kind in ("frames", "steps"):
        ours, theirs = getattr(one, kind), getattr(other, kind)
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])
            assert ours[name].dtype == theirs[name].dtype


def read_all(folder):
    store = EpisodeStore(folder)
    return [store.read(at) for at in store.episodes()]


def test_episodes_come_back_as_they_were(folder, episodes):
    for read, written in zip(read_all(folder), episodes, strict=True):
        assert_equal_episodes(read, written)


def test_a_folder_may_be_text(folder, episodes):
    assert read_all(str(folder))[0].seed == 0
    assert whole_shards(str(folder)) == EpisodeStore(folder).shards
    link_shards(str(folder), "linked")
    assert len(EpisodeStore("linked").episodes()) == len(episodes)
    with pytest.raises(StoreError, match=r"^nowhere: missing: it holds no shards$"):
        EpisodeStore("nowhere")


def test_settings_of_zarr_for_other_work_change_nothing(tmp_path):
    """Neither those in variables nor those in a file."""
    (tmp_path / ".config" / "zarr").mkdir(parents=True)
    (tmp_path / ".config" / "zarr" / "zarr.yaml").write_text(OTHER_WORK)
    others = {"HOME": str(tmp_path), "ZARR_DEFAULT_ZARR_FORMAT": "2", "ZARR_ARRAY__ORDER": "F"}
    command = [sys.executable, "-c", WRITE_AND_READ, str(tmp_path / "other")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | others, capture_output=True, text=True, check=False
    )
    assert done.stdout == "(51, 64, 64, 3) True\n", done.stderr
    write_episodes(tmp_path / "plain")
    plain, other = (
        {path.name: path.read_bytes() for path in (tmp_path / of).rglob("*.zip")}
        for of in ("plain", "other")
    )
    assert len(plain) == 2
    assert plain == other


def test_a_users_own_settings_of_zarr_stay(folder, episodes):
    with zarr.config.set({"default_zarr_format": 2, "array.order": "F"}):
        read_all(folder)
        assert zarr.config.get("default_zarr_format") == 2
        assert zarr.config.get("array.order") == "F"
    assert zarr.config.config == zarr.config.defaults[0]


def test_the_list_of_episodes_says_what_they_are(folder, episodes):
    listed = EpisodeStore(folder).episodes()
    assert [at.length for at in listed] == LENGTHS
    assert [at.seed for at in listed] == [0, 1, 2, 3]
    assert [at.terminated for at in listed] == [False, True, False, True]
    assert [at.shard for at in listed] == [shard_path(folder, n) for n in (0, 0, 0, 1)]


def test_a_part_of_an_episode_is_that_part(folder, episodes):
    store = EpisodeStore(folder)
    at, frames = store.episodes()[1], episodes[1].frames["frames"]
    np.testing.assert_array_equal(store.read_frames(at, "frames", 3, 9), frames[3:9])
    np.testing.assert_array_equal(store.read_frames(at, "frames", 90, 120), frames[90:120])
    np.testing.assert_array_equal(store.read_frames(at, "frames"), frames)


def test_whoever_has_zarr_can_read_a_shard(folder, episodes):
    """Pictures, which are compressed, and steps, which are not."""
    group = zarr.open_group(ZipStore(shard_path(folder, 0), mode="r"), mode="r")
    for path, parts in {
        "frames/frames": [episode.frames["frames"] for episode in episodes[:3]],
        "steps/actions": [episode.steps["actions"] for episode in episodes[:3]],
        "steps/rewards": [episode.steps["rewards"] for episode in episodes[:3]],
    }.items():
        np.testing.assert_array_equal(group[path][:], np.concatenate(parts))
    assert group.attrs["lengths"] == LENGTHS[:3]


def written_anew(shard, folder, compression=zipfile.ZIP_STORED, chunk=None, **how):
    """Writes a shard's arrays again, as Zarr does it when asked for something else."""
    other = folder / shard.name
    other.parent.mkdir(parents=True)
    with (
        ZipStore(shard, mode="r") as found,
        ZipStore(other, mode="w", compression=compression) as made,
    ):
        old = zarr.open_group(found, mode="r")
        new = zarr.create_group(made, attributes=old.attrs.asdict())
        for path in ("frames/frames", "steps/actions", "steps/rewards"):
            rows = old[path][:]
            chunks = (chunk or len(rows), *rows.shape[1:])
            new.create_array(path, data=rows, chunks=chunks, **{"compressors": None} | how)
    return other


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"chunk": 10},
        {"compressors": "auto"},
        {"compression": zipfile.ZIP_DEFLATED},
        {"serializer": BytesCodec(endian="big")},
    ],
    ids=["in one piece", "in chunks", "compressed", "in a zip that compresses", "big-endian"],
)
def test_rows_are_the_same_however_zarr_keeps_them(folder, episodes, tmp_path, how):
    shard = written_anew(shard_path(folder, 1), tmp_path / "other", **how)
    shard.rename(shard_path(folder, 1))
    for read, written in zip(read_all(folder), episodes, strict=True):
        assert_equal_episodes(read, written)


def test_a_shard_that_is_written_anew_while_it_is_read_is_named(folder, episodes):
    store = EpisodeStore(folder)
    at = store.episodes()[0]
    store.read(at)
    write_shard(at.shard, [an_episode(7, 3)], 2)
    with pytest.raises(StoreError, match=r"shard-00000.zarr.zip: damaged \(it was written anew"):
        store.read(at)


def test_a_store_whose_files_are_open_can_be_sent_to_another_process(folder, episodes):
    store = EpisodeStore(folder)
    at = store.episodes()[0]
    here = store.read(at)
    assert_equal_episodes(pickle.loads(pickle.dumps(store)).read(at), here)


def test_equal_episodes_make_equal_bytes(folder, episodes, tmp_path):
    again = shard_path(tmp_path / "elsewhere", 7)
    write_shard(again, episodes[:3], 2)
    assert again.read_bytes() == shard_path(folder, 0).read_bytes()


def test_writing_leaves_nothing_but_the_shard(folder, episodes):
    assert sorted(folder.iterdir()) == [shard_path(folder, 0), shard_path(folder, 1)]


MADE = "`dvc repro collect@pendulum` makes it"
MADE_AGAIN = "`dvc repro --force --single-item collect@pendulum` makes it again"


def refused(folder, path, fault):
    """The error names file and fault; from these follows what makes it, or makes it again."""
    with pytest.raises(StoreError) as caught:
        read_all(folder)
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: {fault}")
    remedy = MADE if fault.startswith("missing") else MADE_AGAIN
    assert explain(caught.value, ["pendulum"]) == f"{caught.value}; {remedy}"


def read_or_complain(folder):
    try:
        return read_all(folder), None
    except StoreError as error:
        return None, str(error)


def test_an_empty_or_missing_folder_is_named(folder):
    refused(folder, folder, "missing: it holds no shards")
    folder.mkdir(parents=True)
    refused(folder, folder, "missing: it holds no shards")


@pytest.mark.parametrize("number", [0, 1])
def test_a_missing_shard_is_named(folder, episodes, number):
    shard_path(folder, number).unlink()
    refused(folder, shard_path(folder, number), "missing")


def test_a_shard_that_goes_missing_later_is_named(folder, episodes):
    store = EpisodeStore(folder)
    at = store.episodes()[0]
    at.shard.unlink()
    with pytest.raises(StoreError, match=r"shard-00000\.zarr\.zip: missing"):
        store.read(at)


@pytest.mark.parametrize("kept", [0, 10, 5000, -1, -30])
def test_a_truncated_shard_is_named(folder, episodes, kept):
    path = shard_path(folder, 0)
    path.write_bytes(path.read_bytes()[:kept])
    refused(folder, path, "damaged")


def test_a_flipped_bit_is_named_or_harmless(folder, episodes):
    """Zip has bytes that mean nothing, such as dates; no other damage may pass."""
    path = shard_path(folder, 0)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    named = 0
    # Half of them anywhere, half in zip's directory at the end.
    places = [*random.integers(len(whole), size=60), *random.integers(-1500, -1, size=60)]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        read, complaint = read_or_complain(folder)
        if complaint:
            assert complaint.startswith(f"{path}: damaged")
            named += 1
        else:
            for one, written in zip(read, episodes, strict=True):
                assert_equal_episodes(one, written)
    assert named > len(places) / 2


def test_a_file_that_is_no_shard_is_named(folder, episodes):
    shard_path(folder, 1).write_text("not a zip")
    refused(folder, shard_path(folder, 1), "damaged")


def test_shards_of_two_data_sets_are_not_read_as_one(folder, episodes):
    """As where a shard was copied from a data set with another number of episodes."""
    write_shard(shard_path(folder, 1), episodes[3:], 3)
    refused(folder, shard_path(folder, 1), "one of 3 shards, and others are of 2")


def test_shards_that_are_not_collected_are_made_by_the_stage_that_encodes(folder):
    latents = folder.with_name("latents")
    write_shard(shard_path(latents, 1), [an_episode(0, 3)], 2)
    with pytest.raises(StoreError) as caught:
        EpisodeStore(latents)
    assert "`dvc repro encode@pendulum` makes it" in explain(caught.value, ["pendulum"])


def test_a_full_disk_leaves_nothing(folder, monkeypatch):
    def full(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for owner, name in [(os, "replace"), (zipfile.ZipFile, "writestr")]:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, full)
            with pytest.raises(OSError, match="No space left"):
                write_shard(shard_path(folder, 0), [an_episode(0, 3)], 1)
        assert list(folder.iterdir()) == []
