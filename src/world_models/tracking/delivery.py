"""Calls that must keep nobody waiting: a thread makes them, in order, until each has succeeded."""

import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from threading import Condition, Thread, current_thread
from typing import NamedTuple

from world_models.runtime.errors import without_passwords

FIRST_PAUSE_S = 0.5
"""After a failure; later half as long as it has failed already, up to the longest."""
LONGEST_PAUSE_S = 15.0
PATIENCE_S = 10.0
"""How long a call that fails is tried where the place is up, or where the end has come."""
TRIES = 5
"""How often it is tried at least, where the place is up: it may be slow."""
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

    A call that fails is tried again, and those after it wait for it: the place may be down. Where
    that takes a note of the loss all the same, it is the call that can't succeed: it is lost before
    long, and holds nothing up. The first failure in a row is said on stderr, and so is that all
    goes on.
    """

    def __init__(
        self, is_permanent: Callable[[Exception], bool], note_loss: Callable[[str, str], bool]
    ) -> None:
        """Starts the thread.

        Args:
            is_permanent: whether a call that failed so is lost, and not tried again.
            note_loss: tells the place what is lost, and why; returns whether it has heard of it.
        """
        self._is_permanent, self._note_loss = is_permanent, note_loss
        self._calls: deque[Call] = deque()
        self._changed = Condition()
        self._closed_at: float | None = None
        self._tries = 0
        self._impatient = False
        self._error: Exception | None = None
        self._lost: Counter[str] = Counter()
        self._thread = self._started()

    def put(self, what: str, make: Callable[[], object]) -> None:
        """Has a call made as soon as those before it have been."""
        with self._changed:
            if len(self._calls) < MOST:
                self._calls.append(Call(what, make))
                self._changed.notify_all()
            else:
                self._lost[what] += 1

    def close(self) -> None:
        """Returns once all calls have been made or are lost; says what is lost then."""
        with self._changed:
            self._closed_at = time.monotonic()
            self._changed.notify_all()
        while self._calls:
            if not self._has_tried():
                self._pass_over()
        with self._changed:
            if self._lost:
                what = ", ".join(f"{name} ({count})" for name, count in self._lost.items())
                say(f"lost: {what}")

    def _has_tried(self) -> bool:
        """Waits until a call has been tried; False where that takes too long."""
        with self._changed:
            before = self._tries
            return self._changed.wait_for(
                lambda: self._tries > before or not self._calls, SLOWEST_S
            )

    def _pass_over(self) -> None:
        """Leaves a call that hangs to its thread; another one makes those that follow."""
        with self._changed:
            if not self._calls:
                return
            call = self._calls[0]
        if not self._note_loss(call.what, "it took too long"):
            self._give_up()
        with self._changed:
            if self._is_first(call):
                self._lost[self._calls.popleft().what] += 1
                self._thread = self._started()

    def _give_up(self) -> None:
        with self._changed:
            self._lost.update(call.what for call in self._calls)
            self._calls.clear()
            self._changed.notify_all()

    def _started(self) -> Thread:
        thread = Thread(target=self._work, name="delivery", daemon=True)
        thread.start()
        return thread

    def _work(self) -> None:
        while (call := self._next()) is not None:
            self._finish(call, self._made(call))

    def _next(self) -> Call | None:
        with self._changed:
            self._changed.wait_for(lambda: self._calls or self._closed_at is not None)
            own = self._thread is current_thread()
            return self._calls[0] if self._calls and own else None

    def _made(self, call: Call) -> Exception | None:
        """Tries a call until it has succeeded, or returns why it is lost."""
        begun, tries = time.monotonic(), 1
        while (error := _tried(call)) is not None and self._is_first(call):
            if self._is_permanent(error):
                self._note_loss(call.what, first_line(error))
                break
            failing_s = time.monotonic() - max(begun, self._closed_at or begun)
            closing = self._closed_at is not None
            enough = failing_s >= PATIENCE_S and (tries >= TRIES or closing)
            if (enough or self._impatient) and self._note_loss(call.what, first_line(error)):
                self._impatient = True  # the next is likely to fail for the same reason
                break
            if enough and closing:
                self._give_up()
                break
            self._wait(error, min(max(FIRST_PAUSE_S, failing_s / 2), LONGEST_PAUSE_S))
            tries += 1
        return error

    def _is_first(self, call: Call) -> bool:
        """Whether a call still waits to be made: it may have been given up meanwhile."""
        with self._changed:
            return bool(self._calls) and self._calls[0] is call

    def _wait(self, error: Exception, pause: float) -> None:
        with self._changed:
            if self._error is None:
                say(f"not logging for now ({first_line(error)}); going on, and trying again")
            self._error = error
            self._tries += 1
            self._changed.notify_all()
            before = self._closed_at  # as the end comes, another try is worth it
            self._changed.wait_for(lambda: self._closed_at != before, pause)

    def _finish(self, call: Call, error: Exception | None) -> None:
        with self._changed:
            self._tries += 1
            self._changed.notify_all()
            if not self._is_first(call):
                return
            self._calls.popleft()
            if error is not None:
                if not self._lost:
                    say(f"not logged: {call.what} ({first_line(error)})")
                self._lost[call.what] += 1
                return
            self._impatient = False
            if self._error is not None:
                self._error = None
                say(f"logging again, {len(self._calls) + 1} calls late")


def _tried(call: Call) -> Exception | None:
    try:
        call.make()
    except Exception as error:  # whatever it is, it isn't worth the program
        return error
    return None


def first_line(error: Exception) -> str:
    """Returns what an error says, in one line and without passwords; of a long one its beginning
    and its end, which often has the reason."""
    line = without_passwords((str(error).strip().splitlines() or [type(error).__name__])[0])
    return line if len(line) <= 300 else f"{line[:200]} … {line[-97:]}"


def say(line: str) -> None:
    """Tells the user what became of the tracking."""
    print(f"tracking: {line}", file=sys.stderr, flush=True)
