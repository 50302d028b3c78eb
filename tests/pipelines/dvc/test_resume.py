"""What a stage keeps of its work, when it goes on from there, and who waits for whom."""

import threading

import pytest

from pipelines.dvc.resume import BY_HAND, held_state
from tests.waiting import stderr, wait_for


@pytest.fixture
def run_cache(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def enter(tmp_path, run_cache):
    """Give a function that opens a stage's state by a key."""

    def enter(key, by_hand=False):
        return held_state(tmp_path / "states", "vae@x", key, None if by_hand else run_cache)

    return enter


def take(run_cache, key):
    entry = run_cache / key[:2] / key / "entry"
    entry.parent.mkdir(parents=True)
    entry.touch()


def stop_with(state, name):
    """What a stage does that begins afresh, leaves a file and is stopped by Ctrl-C."""
    assert list(state.iterdir()) == []
    (state / name).touch()
    raise KeyboardInterrupt


def test_a_stage_that_did_not_end_or_whose_result_dvc_has_not_taken_goes_on(enter, run_cache):
    with pytest.raises(KeyboardInterrupt), enter("abc") as state:
        stop_with(state, "work")
    take(run_cache, "abc")  # by another machine; ours was interrupted
    with enter("abc") as state:
        assert (state / "work").exists()
    with enter("xyz") as state:
        (state / "work").touch()
    (run_cache / "xy" / "xyz").mkdir(parents=True)  # dvc was killed before it wrote the entry
    with enter("xyz") as state:
        assert (state / "work").exists()


def test_a_stage_whose_result_dvc_has_starts_afresh_and_can_be_killed_again(enter, run_cache):
    with enter("abc") as state:
        (state / "work").touch()
    take(run_cache, "abc")
    with pytest.raises(KeyboardInterrupt), enter("abc") as state:
        stop_with(state, "again")
    with enter("abc") as state:
        assert (state / "again").exists()


def test_states_that_dvc_has_the_results_of_go_when_the_next_stage_begins(enter, run_cache):
    for key in ("abc", "def", "ghi"):
        with enter(key) as state:
            (state / "episodes").mkdir()
    take(run_cache, "abc")
    take(run_cache, "def")
    with enter("def") as busy:
        (busy / "ended").touch()
        with enter("xyz") as state:
            assert {path.name for path in state.parent.iterdir()} == {"def", "ghi", "xyz"}


def test_by_hand_a_stage_starts_afresh(enter):
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), enter(BY_HAND, by_hand=True) as state:
            stop_with(state, "work")


def test_by_hand_it_does_so_after_another_one_too(enter):
    """The key by hand says nothing of parameters, which may be others."""
    left = []

    def second():
        with enter(BY_HAND, by_hand=True) as state:
            left.append(list(state.iterdir()))

    with stderr() as said, enter(BY_HAND, by_hand=True) as state:
        thread = threading.Thread(target=second, daemon=True)
        thread.start()
        wait_for(lambda: "waiting for it" in said.getvalue())
        (state / "work").touch()
    thread.join()
    assert left == [[]]


def test_a_second_one_of_the_same_key_waits_and_then_has_what_the_first_one_made(enter, run_cache):
    found = []

    def second():
        with enter("abc") as state:
            found.append((state / "work").exists())

    with stderr() as said, enter("abc") as state:
        thread = threading.Thread(target=second, daemon=True)
        thread.start()
        wait_for(lambda: said.getvalue().endswith("\n"))
        assert said.getvalue() == "vae@x: another process is making the same; waiting for it\n"
        (state / "work").touch()
        take(run_cache, "abc")
        assert thread.is_alive()
        assert not found
    thread.join()
    assert found == [True]
