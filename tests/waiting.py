"""Waiting for what another process does."""

import time
from collections.abc import Callable


def wait_for(happened: Callable[[], bool], seconds: float = 60) -> None:
    """Returns as soon as it has happened; fails after a while."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
