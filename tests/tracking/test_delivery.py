"""Calls that fail are made again; nobody waits for them."""

import time
from threading import Event

import pytest

from tests.waiting import wait_for
from world_models.tracking import delivery
from world_models.tracking.delivery import Delivery


class HopelessError(Exception):
    """A call that makes no sense."""


class Elsewhere:
    """Takes calls, unless it is down."""

    def __init__(self):
        self.down, self.taken, self.tried = Event(), [], 0

    def call(self, number):
        def make():
            self.tried += 1
            if self.down.is_set():
                raise ConnectionError("down")
            self.taken.append(number)

        return make


@pytest.fixture
def place():
    return Elsewhere()


@pytest.fixture
def delivering(place, monkeypatch):
    """A Delivery that pauses for hundredths of a second where the real one does for seconds."""
    monkeypatch.setattr(delivery, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(delivery, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(delivery, "PATIENCE_S", 0.3)
    monkeypatch.setattr(delivery, "SLOWEST_S", 0.6)
    return Delivery(
        lambda error: isinstance(error, HopelessError), lambda what, why: not place.down.is_set()
    )


def test_calls_are_made_in_order(delivering, place):
    for number in range(100):
        delivering.put("numbers", place.call(number))
    delivering.close()
    assert place.taken == list(range(100))


def test_nobody_waits_for_a_call(delivering):
    released = Event()
    delivering.put("numbers", released.wait)
    start = time.monotonic()
    for _ in range(1000):
        delivering.put("numbers", lambda: None)
    assert time.monotonic() - start < 0.2
    released.set()
    delivering.close()


def test_what_failed_is_made_again_in_order_and_both_is_said_once(delivering, place, capsys):
    place.down.set()
    for number in range(5):
        delivering.put("numbers", place.call(number))
    wait_for(lambda: place.tried >= 4)
    place.down.clear()
    delivering.close()
    assert place.taken == [0, 1, 2, 3, 4]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "tracking: not logging for now (down); going on, and trying again"
    assert lines[1].startswith("tracking: logging again, ")
    assert len(lines) == 2


def test_what_is_lost_in_the_end_is_said(delivering, place, capsys):
    place.down.set()
    delivering.put("parameters", place.call(0))
    for number in range(3):
        delivering.put("metrics", place.call(number))
    start = time.monotonic()
    delivering.close()
    assert 0.25 < time.monotonic() - start < 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "tracking: lost: parameters (1), metrics (3)"
    )


def test_the_end_waits_as_long_as_calls_succeed(delivering, capsys):
    taken = []

    def slow():
        time.sleep(0.1)
        taken.append(1)

    for _ in range(6):
        delivering.put("files", slow)
    delivering.close()
    assert len(taken) == 6
    assert capsys.readouterr().err == ""


def test_a_call_that_hangs_is_lost_in_the_end_and_no_other(delivering, place, capsys):
    forever = Event()
    delivering.put("files", forever.wait)
    delivering.put("numbers", place.call(0))
    start = time.monotonic()
    delivering.close()
    assert time.monotonic() - start < 2
    assert place.taken == [0]
    assert capsys.readouterr().err == "tracking: lost: files (1)\n"
    forever.set()


def test_where_the_place_hangs_too_all_is_lost(delivering, place, capsys):
    forever = Event()
    place.down.set()
    delivering.put("files", forever.wait)
    delivering.put("numbers", place.call(0))
    start = time.monotonic()
    delivering.close()
    assert time.monotonic() - start < 2
    assert "lost: files (1), numbers (1)" in capsys.readouterr().err
    forever.set()


def refused():
    raise HopelessError("no such run")


def test_a_hopeless_call_does_not_hold_up_the_others(delivering, place, capsys):
    for number in range(2):
        delivering.put("tags", refused)
        delivering.put("numbers", place.call(number))
    delivering.close()
    assert place.taken == [0, 1]
    assert capsys.readouterr().err.splitlines() == [
        "tracking: not logged: tags (no such run)",
        "tracking: lost: tags (2)",
    ]


def test_a_call_that_fails_for_whatever_reason_does_not_hold_up_the_others(
    delivering, place, capsys
):
    def failing():
        raise ConnectionError("too large")

    for number in range(3):
        delivering.put(f"picture-{number}", failing)
        delivering.put("numbers", place.call(number))
    start = time.monotonic()
    wait_for(lambda: place.taken)
    assert time.monotonic() - start > 0.25
    delivering.close()
    assert time.monotonic() - start < 2
    assert place.taken == [0, 1, 2]
    lines = capsys.readouterr().err.splitlines()
    assert "tracking: not logged: picture-0 (too large)" in lines
    assert lines[-1] == "tracking: lost: picture-0 (1), picture-1 (1), picture-2 (1)"


def test_a_call_that_fails_is_kept_for_as_long_as_the_place_is_down(delivering, place, capsys):
    place.down.set()
    delivering.put("numbers", place.call(0))
    time.sleep(0.4)  # longer than the patience with one that fails for a reason of its own
    wait_for(lambda: place.tried > delivery.TRIES)
    place.down.clear()
    delivering.close()
    assert place.taken == [0]
    assert "lost" not in capsys.readouterr().err


def test_what_waits_is_bounded(delivering, place, monkeypatch, capsys):
    monkeypatch.setattr(delivery, "MOST", 10)
    released = Event()
    delivering.put("first", released.wait)
    for number in range(15):
        delivering.put("numbers", place.call(number))
    released.set()
    delivering.close()
    assert place.taken == list(range(9))
    assert capsys.readouterr().err == "tracking: lost: numbers (6)\n"
