"""What tests of several rooms share."""

import signal

import pytest

from tests.counting import COUNTING
from world_models.tasks import TASKS


@pytest.fixture
def counting(monkeypatch):
    """The counting task, known by its name as long as a test runs."""
    monkeypatch.setitem(TASKS, "counting", COUNTING)
    return COUNTING


def pytest_sessionstart() -> None:
    # A shell starts what it puts in the background deaf to Ctrl-C, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
