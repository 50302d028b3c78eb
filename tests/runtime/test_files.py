"""Files and folders that are whole or not there."""

import errno
import os
import sys

import pytest

from world_models.runtime.files import atomic_write, empty, link_or_copy


def make_folder(path, content):
    path.mkdir(parents=True)
    (path / "inside").write_text(content)


def make_file(path, content):
    path.write_text(content)


def read(path):
    return (path / "inside" if path.is_dir() else path).read_text()


@pytest.fixture(params=[make_file, make_folder])
def make(request):
    return request.param


def test_what_is_written_appears_at_the_end(tmp_path, make):
    path = tmp_path / "deep" / "out"
    with atomic_write(path) as aside:
        make(aside, "new")
        assert not path.exists()
    assert read(path) == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_path_may_be_text(tmp_path, make):
    with atomic_write(f"{tmp_path}/deep/out") as aside:
        make(aside, "new")
    assert read(tmp_path / "deep" / "out") == "new"


def test_what_was_there_is_replaced(tmp_path, make):
    path = tmp_path / "out"
    for content in ("old", "new"):
        with atomic_write(path) as aside:
            make(aside, content)
    assert read(path) == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, SystemExit])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path, make, error):
    path = tmp_path / "out"
    make(path, "old")
    with pytest.raises(error), atomic_write(path) as aside:  # noqa: PT012
        make(aside, "half")
        raise error
    assert read(path) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_before_anything_was_written_leaves_nothing(tmp_path):
    with pytest.raises(OSError), atomic_write(tmp_path / "out"):  # noqa: PT011
        raise OSError
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_process_left_half_written_is_in_nobodys_way(tmp_path, make):
    path = tmp_path / "out"
    with atomic_write(path) as aside:
        name = aside
        make(aside, "x")
    make(name, "left by a process that was killed")
    with atomic_write(path) as aside:
        make(aside, "new")
    assert read(path) == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_into_a_cache_is_replaced_and_the_cache_is_left_as_it_is(tmp_path, make):
    cached, path = tmp_path / "cached", tmp_path / "out"
    make(cached, "cached")
    path.symlink_to(cached)
    with atomic_write(path) as aside:
        make(aside, "new")
    assert not path.is_symlink()
    assert (read(path), read(cached)) == ("new", "cached")


@pytest.mark.skipif(sys.platform != "linux", reason="what is open is read from /proc")
def test_contents_are_on_the_disk_before_they_have_their_name(tmp_path, make, monkeypatch):
    """Or a power cut could leave a file of zeros, or none, under a name that is believed."""
    happened = []
    fsync, replace = os.fsync, os.replace

    def name_of(descriptor):
        return os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", lambda it: happened.append(name_of(it)) or fsync(it))
    monkeypatch.setattr(os, "replace", lambda *its: happened.append("renamed") or replace(*its))
    with atomic_write(tmp_path / "out") as aside:
        make(aside, "new")
    inside = ["inside"] if make is make_folder else []
    assert happened == [*inside, ".part-out", "renamed", tmp_path.name]


def test_a_link_is_the_same_file_and_where_there_can_be_none_a_copy(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.write_text("shard")
    link_or_copy(source, tmp_path / "link")
    assert (tmp_path / "link").samefile(source)

    def refuse(*_):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "shard"
    assert not (tmp_path / "copy").samefile(source)


def test_a_folder_is_emptied_in_an_order_that_can_be_cut_short(tmp_path, monkeypatch):
    for name in ("a", "ended", "z"):
        make_folder(tmp_path / name, "x") if name == "a" else make_file(tmp_path / name, "x")
    seen = []
    unlink = type(tmp_path).unlink
    monkeypatch.setattr(
        type(tmp_path), "unlink", lambda path, **how: seen.append(path.name) or unlink(path, **how)
    )
    empty(tmp_path, last="ended")
    assert seen[-2:] == ["z", "ended"]
    assert list(tmp_path.iterdir()) == []
