"""Calls that must keep nobody waiting: a thread makes them, in order, until each has succeeded."""

import sys
from collections import Counter, deque
from collections.abc import Callable
from threading import Condition, Thread
from typing import NamedTuple

FIRST_PAUSE_S = 0.5
"""After a failure; twice as long after each further one, up to the longest."""
LONGEST_PAUSE_S = 15.0
PATIENCE_S = 10.0
"""At the end, how long a call that fails is tried before what is left is given up."""
SLOWEST_S = 60.0
"""At the end, how long a call may take that has not failed."""
MOST = 100_000
"""Calls that wait at a time; more are lost."""


class Call(NamedTuple):
    """Something to be done elsewhere."""

    what: str
    """What it delivers, e.g. `metrics`."""
    make: Callable[[], object]
    """Does it. Where it raises it may be called again."""


class Delivery:
    """Makes calls in a thread of its own, for a program that goes on meanwhile.

    A call that fails is tried again, and those after it wait for it. The first failure in a row is
    said on stderr, and so is that all goes on.
    """

    def __init__(self, is_permanent: Callable[[Exception], bool]) -> None:
        """Starts the thread. A call is lost, not tried again, where `is_permanent(error)`."""
        self._is_permanent = is_permanent
        self._calls: deque[Call] = deque()
        self._changed = Condition()
        self._closing = False
        self._finished = 0
        self._error: Exception | None = None
        self._lost: Counter[str] = Counter()
        Thread(target=self._work, name="delivery", daemon=True).start()

    def put(self, what: str, make: Callable[[], object]) -> None:
        """Has a call made as soon as those before it have been."""
        with self._changed:
            if len(self._calls) < MOST:
                self._calls.append(Call(what, make))
                self._changed.notify_all()
            else:
                self._lost[what] += 1

    def close(self) -> None:
        """Returns once all calls have been made, or one is given up; says what is lost then."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            while self._calls and self._wait_for_one():
                pass
            self._lost.update(call.what for call in self._calls)
            self._calls.clear()
            if self._lost:
                what = ", ".join(f"{name} ({count})" for name, count in self._lost.items())
                say(f"lost: {what}")

    def _wait_for_one(self) -> bool:
        """Waits for the call that is next; False where that is in vain."""
        before = self._finished

        def done() -> bool:
            return self._finished > before

        if not self._changed.wait_for(lambda: done() or self._error is not None, SLOWEST_S):
            return False
        return self._changed.wait_for(done, PATIENCE_S)

    def _work(self) -> None:
        pause = FIRST_PAUSE_S
        while (call := self._next()) is not None:
            error = _tried(call)
            if error is None or self._is_permanent(error):
                self._finish(call, error)
                pause = FIRST_PAUSE_S
            else:
                self._wait(error, pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def _next(self) -> Call | None:
        with self._changed:
            self._changed.wait_for(lambda: self._calls or self._closing)
            return self._calls[0] if self._calls else None

    def _finish(self, call: Call, error: Exception | None) -> None:
        with self._changed:
            if error is not None:
                if not self._lost:
                    say(f"not logged: {call.what} ({first_line(error)})")
                self._lost[call.what] += 1
            elif self._error is not None:
                self._error = None
                say(f"logging again, {len(self._calls)} calls late")
            if self._calls:  # they may have been given up meanwhile
                self._calls.popleft()
            self._finished += 1
            self._changed.notify_all()

    def _wait(self, error: Exception, pause: float) -> None:
        with self._changed:
            if self._error is None:
                say(f"not logging for now ({first_line(error)}); going on, and trying again")
            self._error = error
            self._changed.notify_all()
            before = self._closing  # as the end comes, another try is worth it
            self._changed.wait_for(lambda: self._closing != before, pause)


def _tried(call: Call) -> Exception | None:
    try:
        call.make()
    except Exception as error:  # whatever it is, it isn't worth the program
        return error
    return None


def first_line(error: Exception) -> str:
    """Returns what an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def say(line: str) -> None:
    """Tells the user what became of the tracking."""
    print(f"tracking: {line}", file=sys.stderr, flush=True)
