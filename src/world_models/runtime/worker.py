"""What a process of a pool does: its jobs, and its handlers for them."""

import multiprocessing
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing import util
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, Protocol, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
Input = TypeVar("Input", contravariant=True)
Output = TypeVar("Output", covariant=True)
STANDARD_ERROR = 2
"""The last descriptor that every process is meant to inherit."""


class Handler(Protocol[Input, Output]):
    """What a worker makes once and keeps, such as a world, to do jobs with."""

    def __call__(self, job: Input, /) -> Output:
        """Does a job."""

    def close(self) -> None:
        """Closes what it holds, when there are no more jobs."""


factories: dict[str, Callable[[], Handler[Any, Any]]] = {}
handlers: dict[str, Handler[Any, Any]] = {}
"""Those of this process, by names that pools gave them."""


@dataclass(frozen=True)
class HandlerReference:
    """Stands for the handler of this name that the process has which is asked for it."""

    name: str

    def __call__(self, job: Any) -> Any:
        """Does a job with that handler, which is made for the first one."""
        if self.name not in handlers:
            handlers[self.name] = factories[self.name]()
        return handlers[self.name](job)


def add_factory(name: str, make: bytes, _number: int) -> None:
    """Keeps a pickled way to make a handler, until it is needed."""
    factories[name] = pickle.loads(make)


def close_handlers(names: Sequence[str]) -> None:
    """Closes the handlers of this process that have these names."""
    with ExitStack() as closing_all:
        for name in names:
            factories.pop(name, None)
            if name in handlers:
                closing_all.callback(handlers.pop(name).close)


@dataclass
class Worker:
    """What a worker process knows of itself."""

    busy: bool = False
    stopped: bool = False

    def stop(self, *_signal: object) -> None:
        """Ends the job at hand by a KeyboardInterrupt, on Ctrl-C, and takes no other."""
        first, self.stopped = not self.stopped, True
        if self.busy and first:
            # Zarr, cut off in the middle of a write, leaves a coroutine that nobody awaits.
            warnings.filterwarnings("ignore", "coroutine .* was never awaited")
            raise KeyboardInterrupt


_worker = Worker()


def _keep_to_oneself() -> None:
    """Has nothing that this process starts inherit its pipes.

    A game's engine that did would hold them open when its worker is killed, and nobody would learn
    of that.
    """
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # the listing's own is gone
            os.set_inheritable(descriptor, descriptor <= STANDARD_ERROR)


def start() -> None:
    """Readies a process, which has one thread: what it computes is the same beside any others."""
    if sys.platform == "linux":
        _keep_to_oneself()
    signal.signal(signal.SIGINT, _worker.stop)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    util.Finalize(None, lambda: close_handlers(list(factories)), exitpriority=0)
    _end_with_parent()
    import torch

    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """Has this process end as soon as its parent does, however that ends."""
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid is None:
        return
    if sys.platform == "linux":  # whatever this process is at: the kernel sees to it
        from world_models.runtime.lifetime import die_with

        die_with(parent.pid)
    else:
        Thread(target=exit_after, args=(parent,), daemon=True).start()


def exit_after(parent: BaseProcess) -> None:
    """Waits until a parent has ended, and ends this process."""
    parent.join()
    os._exit(1)


def do(work: Callable[[Job], Result], job: Job) -> Result:
    """Does a job; Ctrl-C ends it by a KeyboardInterrupt."""
    _worker.busy = True  # first: an interrupt from here on is raised
    try:
        if _worker.stopped:
            raise KeyboardInterrupt
        return work(job)
    finally:
        _worker.busy = False
