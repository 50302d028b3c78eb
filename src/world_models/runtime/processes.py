"""Workers side by side: processes of this machine, or Ray's; and how processes end."""

import errno
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Protocol, TypeVar
from uuid import uuid4

from world_models.runtime import worker
from world_models.runtime.errors import WorldModelsError
from world_models.runtime.parcels import FileJob

Job = TypeVar("Job")
Result = TypeVar("Result")
WriterJob = TypeVar("WriterJob", bound=FileJob)
PATIENCE = 120.0
"""Seconds that a worker may take to close what it holds."""


class Pool(Protocol):
    """Workers that do jobs side by side, one each at a time.

    What comes of a job must not depend on who does it: a worker has one thread.
    """

    def open(self, make: Callable[[], worker.Handler[Job, Result]]) -> Callable[[Job], Result]:
        """Has each worker make a handler for itself when it first needs it.

        Returns work for `run`: whoever does a job does it with its own. They are closed with the
        pool.
        """

    def run(
        self, work: Callable[[Job], Result], jobs: Sequence[Job]
    ) -> Iterator[tuple[int, Result]]:
        """Has every job done, and yields (number of the job, result) as they end."""

    def run_files(
        self, work: Callable[[WriterJob], Result], jobs: Sequence[WriterJob]
    ) -> Iterator[tuple[int, Result]]:
        """Does the same for jobs that write a file each: it is there when its result is."""

    def close(self) -> None:
        """Ends the workers, once they have closed their handlers, or have tried to for long."""


OpenPool = Callable[[int], Pool]
"""Opens a pool of so many workers, as far as their number is up to this machine."""


@dataclass(frozen=True)
class OnRay:
    """Opens pools on Ray, whose workers are as many as it has CPUs.

    Raises ExtraError where Ray isn't installed, and WorldModelsError where there is no Ray.
    """

    address: str | None
    """A cluster's; None for a Ray of our own on this machine."""
    cpus: int
    """Of a Ray of our own."""
    shared_files: bool
    """Workers read and write this machine's files by their paths."""
    code: ModuleType | None = None
    """A package that workers may lack."""

    def __call__(self, _workers: int) -> Pool:
        """Opens a pool."""
        from world_models.runtime.ray_cluster import connect

        connect(self.address, self.cpus)
        from world_models.runtime.ray_pool import RayPool

        return RayPool(self.shared_files or self.address is None, self.code)


class WorkerPool:
    """A pool of processes on this machine; one alone is this process.

    A worker that dies is an error, never a hang; errors and Ctrl-C end the others' jobs by a
    KeyboardInterrupt there, and with them the pool.
    """

    def __init__(self, workers: int) -> None:
        """A process starts with its first job."""
        self.workers = workers
        self._over = False
        self._started: list[BaseProcess] = []
        self._here: list[str] = []
        if workers > 1:
            _have_a_tracker()
        # Spawned, not forked: torch's and the games' threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        # One pool a process: a pool of several can't be told to have each do something.
        with _shortage_named():
            self._processes = [
                ProcessPoolExecutor(1, context, worker.start)
                for _ in range(workers if workers > 1 else 0)
            ]

    def open(self, make: Callable[[], worker.Handler[Job, Result]]) -> Callable[[Job], Result]:
        """Has each worker make a handler for itself when it first needs it.

        Returns work for `run`: whoever does a job does it with its own. They are closed with the
        pool. Raises RuntimeError for a pool that an error has ended.
        """
        reference = worker.HandlerReference(uuid4().hex)
        if self._processes:
            # By pickle itself: torch's own way for processes takes shared memory, which is scarce.
            add = partial(worker.add_factory, reference.name, pickle.dumps(make))
            list(self.run(add, range(self.workers)))
        else:
            worker.factories[reference.name] = make
            self._here.append(reference.name)
        return reference

    def run(
        self, work: Callable[[Job], Result], jobs: Sequence[Job]
    ) -> Iterator[tuple[int, Result]]:
        """Has every job done, and yields (number of the job, result) as they end.

        If there are as many jobs as workers, each does one. Raises RuntimeError for a pool that an
        error has ended.
        """
        if not self._processes:
            yield from ((number, work(job)) for number, job in enumerate(jobs))
            return
        if self._over:
            raise RuntimeError("an error has ended this pool")
        waiting = iter(enumerate(jobs))
        running: dict[Future[Result], tuple[int, ProcessPoolExecutor]] = {}

        def hand_on(process: ProcessPoolExecutor) -> None:
            for number, job in waiting:
                running[self._submit(process, work, job)] = number, process
                return

        try:
            for process in self._processes:
                hand_on(process)
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    number, process = running.pop(future)
                    hand_on(process)
                    yield number, future.result()
        except BrokenProcessPool as broken:
            # One may wait for a lock that the dead one held; the pool's SIGTERM is lost on workers
            # whose game uses SDL, which takes that signal for itself.
            self._end(BaseProcess.kill)
            raise WorldModelsError(
                "a worker process died (out of memory?); run again, with fewer workers if it recurs"
            ) from broken  # it may have told why
        except BaseException:
            self._end(_interrupt)
            raise

    def run_files(
        self, work: Callable[[WriterJob], Result], jobs: Sequence[WriterJob]
    ) -> Iterator[tuple[int, Result]]:
        """Does the same for jobs that write a file each: all workers see the same files."""
        yield from self.run(work, jobs)

    def close(self) -> None:
        """Ends the processes, once they have closed their handlers, or have tried to for long."""
        for process in self._processes:
            with _after(PATIENCE, partial(self._end, BaseProcess.kill)):
                process.shutdown(cancel_futures=True)
        worker.close_handlers(self._here)

    def _submit(
        self, process: ProcessPoolExecutor, work: Callable[[Job], Result], job: Job
    ) -> Future[Result]:
        with _interrupts_held_back():
            before = multiprocessing.active_children()
            future = process.submit(worker.do, work, job)
            self._started += [at for at in multiprocessing.active_children() if at not in before]
        return future

    def _end(self, how: Callable[[BaseProcess], None]) -> None:
        self._over = True
        for process in self._started:
            if process.is_alive():
                how(process)


@contextmanager
def _after(seconds: float, do: Callable[[], None]) -> Iterator[None]:
    """Does it if the block takes longer than that."""
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _shortage_named() -> Iterator[None]:
    """Python doesn't say where there is no space left."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise WorldModelsError(
            "/dev/shm is full: no room for the locks that worker processes share"
        ) from None


def _interrupt(process: BaseProcess) -> None:
    assert process.pid is not None  # it has been started
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGINT)


def _have_a_tracker() -> None:
    """Starts multiprocessing's resource tracker, and another where that one is dead at once.

    Beside busy threads it happens, once in some hundred starts. Python looks whether the tracker
    lives before each message but the first, which would end the program with a BrokenPipeError.
    Windows has no tracker.
    """
    if sys.platform == "win32":
        return
    resource_tracker.ensure_running()
    warnings.filterwarnings("ignore", "resource_tracker: process died")  # nothing is lost
    resource_tracker.ensure_running()  # this one looks


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the end of the block."""
    held: list[int] = []
    # The mask is the main thread's and its child's; other threads' signals become Python's here.
    before = {
        number: signal.signal(number, lambda number, _frame: held.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
        if threading.current_thread() is threading.main_thread()
    }
    try:
        with _interrupts_blocked():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for caught in held:
            signal.raise_signal(caught)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """In a process that starts in the block Ctrl-C waits until it is let; Windows can't do that.

    A worker that is interrupted while it starts would print where it was.
    """
    if sys.platform == "win32":
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
