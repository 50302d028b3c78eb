"""Where work runs: in this process, or spread over local ones; on which device; how it ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import select
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from threading import Thread
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from world_models.errors import WorldModelsError

if TYPE_CHECKING:
    import torch

Job = TypeVar("Job")
Result = TypeVar("Result")
PR_SET_PDEATHSIG = 1
"""Of prctl: a signal that the kernel sends a process when its parent dies."""
MARK = "WORLD_MODELS_OF"
"""In the environment of all that comes of a process: which one that is."""
BURY = """
read nothing
sleep 1 # some tidy up by themselves
for found in $(grep -ls "$0" /proc/[0-9]*/environ); do
  found="${found%/environ}"
  kill -9 "${found#/proc/}"
done
"""
"""Waits for the end of its input, and kills all processes with a mark."""


def best_device() -> torch.device:
    """The GPU where there is one, or else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def sharing_cores(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads in which torch has a share of the cores each: they need not wait for each other.

    On an error in the block what has not begun is dropped.
    """
    import torch

    threads = torch.get_num_threads()
    share = partial(torch.set_num_threads, max(1, threads // workers))
    pool = ThreadPoolExecutor(workers, initializer=share)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # the workers' share would be that of every new thread


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[int, Result]]:
    """Runs `work` on every job and yields (number of the job, result) as they end.

    A job's result must not depend on the process that runs it. A worker that dies is an error,
    never a hang; Ctrl-C and errors end the other workers' jobs by a KeyboardInterrupt there. With
    one worker the jobs run here.
    """
    if workers == 1 or not jobs:
        yield from ((number, work(job)) for number, job in enumerate(jobs))
        return
    # Spawned, not forked: torch's and the games' threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    workers = min(workers, len(jobs))
    threads = max(1, (os.cpu_count() or 1) // workers)
    _have_a_tracker()
    with ProcessPoolExecutor(workers, context, _start_worker, (threads,)) as pool:
        with _interrupts_held_back():
            numbers = {pool.submit(_in_worker, work, job): n for n, job in enumerate(jobs)}
        try:
            for future in as_completed(numbers):
                yield numbers[future], future.result()
        except BrokenProcessPool:
            # One may wait for a lock that the dead one held; the pool's SIGTERM is lost on workers
            # whose game uses SDL, which takes that signal for itself.
            _signal_workers(signal.SIGKILL)
            raise WorldModelsError(
                "a worker process died (out of memory?); run again, with fewer workers if it recurs"
            ) from None
        except BaseException:
            _signal_workers(signal.SIGINT)
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _have_a_tracker() -> None:
    """Starts multiprocessing's resource tracker, and another where that one is dead at once.

    Beside busy threads it happens, once in some hundred starts. Python looks whether the tracker
    lives before each message but the first, which would end the program with a BrokenPipeError.
    """
    resource_tracker.ensure_running()
    warnings.filterwarnings("ignore", "resource_tracker: process died")  # nothing is lost
    resource_tracker.ensure_running()  # this one looks


def _signal_workers(number: signal.Signals) -> None:
    for worker in multiprocessing.active_children():
        if worker.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, number)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C waits until the end of the block, and in processes that start there until they let it.

    A worker that is interrupted while it starts would print where it was.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass
class _Worker:
    """What a worker process knows of itself."""

    busy: bool = False
    stopped: bool = False

    def stop(self, *_signal: object) -> None:
        """On Ctrl-C: ends the job at hand by a KeyboardInterrupt, and takes no other."""
        first, self.stopped = not self.stopped, True
        if self.busy and first:
            # Zarr, cut off in the middle of a write, leaves a coroutine that nobody awaits.
            warnings.filterwarnings("ignore", "coroutine .* was never awaited")
            raise KeyboardInterrupt


_worker = _Worker()


def _start_worker(threads: int) -> None:
    signal.signal(signal.SIGINT, _worker.stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        die_with(parent.pid)
    import torch

    torch.set_num_threads(threads)


def _in_worker(work: Callable[[Job], Result], job: Job) -> Result:
    if _worker.stopped:
        raise KeyboardInterrupt
    _worker.busy = True
    try:
        return work(job)
    finally:
        _worker.busy = False


def die_with(process: int) -> None:
    """Has this process killed as soon as that one ends, however it ends; now, if it has ended."""
    if process == os.getppid():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if process != os.getppid():  # a shell lies between, or the parent died just now
        Thread(target=_die_after, args=(process,), daemon=True).start()


def _die_after(process: int) -> None:
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(process)], [], [])
    os.kill(os.getpid(), signal.SIGKILL)


def leave_nothing_behind() -> None:
    """Has all that comes of this process from now on killed when it ends, however it ends.

    A game's engine that outlives who plays it waits for ever for the next step.
    """
    mark = uuid4().hex
    end, _never_closed = os.pipe()  # it ends when nobody can write any more: with this process
    null = os.open(os.devnull, os.O_WRONLY)
    os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", BURY, f"{MARK}={mark}"],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, end, 0)]
        + [(os.POSIX_SPAWN_DUP2, null, output) for output in (1, 2)],
        setsid=True,  # Ctrl-C is not for it
    )
    os.close(end)
    os.close(null)
    os.environ[MARK] = mark
