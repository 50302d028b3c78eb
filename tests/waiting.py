"""Waiting for what another process or thread does."""

import io
import time
from collections.abc import Callable
from contextlib import redirect_stderr


def wait_for(happened: Callable[[], bool], seconds: float = 60) -> None:
    """Returns as soon as it has happened; fails after a while."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def stderr() -> redirect_stderr[io.StringIO]:
    """Gives, as a context manager, what all threads write to stderr, to be looked at meanwhile.

    capsys would lose what is written between its reading and its clearing.
    """
    return redirect_stderr(io.StringIO())
