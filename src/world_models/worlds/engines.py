"""Games whose engine is a process of its own: how long it is waited for, and its shared memory."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any
from weakref import finalize, ref

from world_models.runtime.errors import WorldModelsError, one_line
from world_models.tasks.base import Task

PATIENCE = 120
"""Seconds that a game may take to start, or for a step of all lanes. A busy machine takes many."""
FOLDER = "world-models-"
"""Begins the names of the folders that engines work in."""
ENGINE = "vizdoom"
"""The engine's name, and that of the library that starts it."""
SHARED_MEMORY = Path("/dev/shm")
FILES = "ViZDoom"
"""Begins the names of the engine's files there, which it leaves if it is killed."""
INSTANCE = "+viz_instance_id"
"""The option that names an engine; the names of its files end with the same."""
SPARE = 2**20
"""Bytes that have to be left there, as other processes may start games at the same moment."""


class Engines:
    """The engines of a task's games, all in one folder; in its block they are waited for.

    If they don't answer for long they are killed, and what has waited for them fails. That, and
    any error of the engine's own, is a WorldModelsError.
    """

    def __init__(self, task: Task, folder: str) -> None:
        """Clears up, first, what dead processes have left."""
        self.task, self.folder = task, os.path.realpath(folder)
        self._calls, self._waiting, self._given_up = 0, False, False
        self._closed = Event()
        if sys.platform == "linux":
            _clear_up()
            finalize(self, self._closed.set)
            Thread(target=_watch, args=(ref(self), self._closed), daemon=True).start()

    def open(self, make: Callable[[], Any], left: int) -> Any:
        """Returns a game that `make` opens, the first of so many that are left to open.

        Raises WorldModelsError, too, where there is no room for them.
        """
        _require_room(self.task, left)
        coming: Future[Any] = Future()
        # Killing an engine while it starts would end this process. A thread that waits for one in
        # vain can be left to itself, but not one of a pool.
        Thread(target=_open, args=(make, coming), daemon=True).start()
        try:
            for _ in range(PATIENCE):  # not at once: time in which this process is stopped is none
                if wait([coming], 1).done:
                    return coming.result()
        except BaseException as error:
            if wait([coming], PATIENCE).done and coming.exception() is None:
                coming.result().close()
            self._raise_own(error)
            raise
        coming.cancel()
        raise WorldModelsError(self._unanswered)

    def __enter__(self) -> None:
        self._calls, self._waiting = self._calls + 1, True

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._waiting = False
        if error is not None:
            self._raise_own(error)

    def close(self) -> None:
        """Waits no more."""
        self._closed.set()

    def waited_for(self) -> int | None:
        """Returns which call waits for the engines, as a number; None if none does."""
        return self._calls if self._waiting else None

    def give_up(self) -> None:
        """Kills the engines."""
        self._given_up = True
        for engine, folder in _engines():
            if folder == self.folder:
                _end(engine)

    def _raise_own(self, error: BaseException) -> None:
        if type(error).__module__.partition(".")[0] == ENGINE:
            told = self._unanswered if self._given_up else f"{self.task.name}: {error}"
            raise WorldModelsError(one_line(told)) from error

    @property
    def _unanswered(self) -> str:
        return f"{self.task.name}: a game has not answered for {PATIENCE} s"


def _open(make: Callable[[], Any], coming: Future[Any]) -> None:
    """Opens a game for who waits for it, or closes it again if it comes too late.

    Its engine inherits that Ctrl-C and SIGTERM, which a whole group of processes may be sent, are
    for its player alone.
    """
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        game = make()
    except BaseException as error:
        with suppress(InvalidStateError):
            coming.set_exception(error)
        return
    try:
        coming.set_result(game)
    except InvalidStateError:
        game.close()


def _watch(watched: ref[Engines], closed: Event) -> None:
    """Looks each second, and gives engines up that the same call has waited for long enough."""
    before, same = None, 0
    while not closed.wait(1):
        engines = watched()
        if engines is None:
            return
        now = engines.waited_for()
        same = same + 1 if now is not None and now == before else 0
        before = now
        if same >= PATIENCE:
            engines.give_up()
        del engines


def _require_room(task: Task, games: int) -> None:
    """Without room an engine is lost on its way, and its player waits for ever."""
    if sys.platform != "linux" or not task.shared_memory:
        return
    wanted, free = games * task.shared_memory + SPARE, _free()
    if wanted > free:
        raise WorldModelsError(
            f"{task.name}: {SHARED_MEMORY} has {free / 2**20:.2f} MB left, and the games to open "
            f"({games}) want {wanted / 2**20:.2f} MB; `docker run --shm-size=1g` or "
            f"`mount -o remount,size=1g {SHARED_MEMORY}` gives it more"
        )


def _free() -> float:
    if not os.access(SHARED_MEMORY, os.W_OK):
        return 0
    usage = shutil.disk_usage(SHARED_MEMORY)
    return usage.free if usage.total else math.inf  # a total of 0 is no limit


def _clear_up() -> None:
    """Ends engines whose player is dead, and removes the files that no process uses."""
    mapped = cache(_mapped)
    for engine, folder in _engines():
        if Path(folder).name.startswith(FOLDER) and not _has_player(engine, mapped):
            _end(engine)
    for file in SHARED_MEMORY.glob(f"{FILES}*"):
        with suppress(OSError):  # another process may be at the same
            _remove_unused(file)


def _engines() -> Iterator[tuple[int, str]]:
    """Yields the processes that are engines, as far as they can be seen, and their folders."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "comm").read_text().strip() == ENGINE:
                yield int(process.name), os.readlink(process / "cwd")


def _has_player(engine: int, mapped: Callable[[str], str]) -> bool:
    """Says whether the process that has started an engine lives; in doubt, yes.

    It has the engine's files mapped as long as it lives. One that adopts the engine doesn't.
    """
    with suppress(OSError, ValueError):  # it is just ending
        arguments = Path(f"/proc/{engine}/cmdline").read_text().split("\0")
        name = arguments[arguments.index(INSTANCE) + 1]
        _state, parent, *_ = Path(f"/proc/{engine}/stat").read_text().rpartition(")")[2].split()
        return name in mapped(parent)
    return True


def _mapped(process: str) -> str:
    """Returns the files that a process has mapped; none of the first, which may not be asked."""
    try:
        return Path(f"/proc/{process}/maps").read_text()
    except PermissionError:
        if process != "1":
            raise
        return ""


def _end(engine: int) -> None:
    if sys.platform == "linux":
        from world_models.runtime.lifetime import end

        end(engine)


def _remove_unused(file: Path) -> None:
    if sys.platform == "linux":
        from world_models.runtime.lifetime import is_written

        if not is_written(file):
            file.unlink()
