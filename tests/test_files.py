"""Files and folders that are whole or not there."""

import pytest

from world_models.files import made_whole


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
    with made_whole(path) as aside:
        make(aside, "new")
        assert not path.exists()
    assert read(path) == "new"
    assert list(path.parent.iterdir()) == [path]


def test_what_was_there_is_replaced(tmp_path, make):
    path = tmp_path / "out"
    for content in ("old", "new"):
        with made_whole(path) as aside:
            make(aside, content)
    assert read(path) == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, SystemExit])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path, make, error):
    path = tmp_path / "out"
    make(path, "old")
    with pytest.raises(error), made_whole(path) as aside:  # noqa: PT012
        make(aside, "half")
        raise error
    assert read(path) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_before_anything_was_written_leaves_nothing(tmp_path):
    with pytest.raises(OSError), made_whole(tmp_path / "out"):  # noqa: PT011
        raise OSError
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_process_left_half_written_is_in_nobodys_way(tmp_path, make):
    path = tmp_path / "out"
    with made_whole(path) as aside:
        name = aside
        make(aside, "x")
    make(name, "left by a process that was killed")
    with made_whole(path) as aside:
        make(aside, "new")
    assert read(path) == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_into_a_cache_is_replaced_and_the_cache_is_left_as_it_is(tmp_path, make):
    cached, path = tmp_path / "cached", tmp_path / "out"
    make(cached, "cached")
    path.symlink_to(cached)
    with made_whole(path) as aside:
        make(aside, "new")
    assert not path.is_symlink()
    assert (read(path), read(cached)) == ("new", "cached")
