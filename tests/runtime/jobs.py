"""Jobs for other processes, which can only be given what they can import."""

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np

from world_models.runtime.files import atomic_write
from world_models.runtime.parcels import FileJob
from world_models.runtime.processes import WorkerPool
from world_models.runtime.worker import exit_after

Job = TypeVar("Job")
Result = TypeVar("Result")

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """What such a process runs in: these jobs can be imported, and the package beside them."""
    return os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[int, Result]]:
    """Runs jobs in processes of their own, no more of them than there are jobs."""
    with closing(WorkerPool(max(1, min(workers, len(jobs))))) as pool:
        yield from pool.run(work, jobs)


def square(number: int) -> int:
    return number * number


def square_process_and_threads(number: int) -> tuple[int, int, int]:
    import torch

    return number * number, os.getpid(), torch.get_num_threads()


def die_and_leave_a_child(file: Path) -> None:
    """As a game's engine, the child inherits what may be inherited; the file gets its number."""
    child = subprocess.Popen(["sleep", "600"], close_fds=False)
    file.write_text(str(child.pid))
    os._exit(9)


def die_beside_a_deaf_one(folder: Path) -> None:
    """The first one to come waits for ever, deaf to SIGTERM as games are that use SDL."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        (folder / "first").mkdir()
    except FileExistsError:
        os._exit(9)
    threading.Event().wait()


def refuse_beside_a_deaf_one(folder: Path) -> None:
    """The first one to come waits for ever, deaf to Ctrl-C."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        (folder / "first").mkdir()
    except FileExistsError:
        raise ValueError("I was second") from None
    threading.Event().wait()


def refuse(number: int) -> int:
    if number == 1:
        raise ValueError(f"job {number} is wrong")
    return number


def wait_and_tidy(folder: Path) -> None:
    """Waits for ever, beside a file that goes away when the wait is ended in good order."""
    begun = folder / f"begun-{os.getpid()}"
    begun.touch()
    try:
        threading.Event().wait()
    finally:
        begun.rename(folder / f"tidied-{os.getpid()}")


def node(seconds: float) -> str:
    """Takes so long, and returns which node of Ray's it is done on."""
    import ray

    time.sleep(seconds)
    return ray.get_runtime_context().get_node_id()


def die_the_first_time(job: tuple[int, Path]) -> int:
    """Squares a number; the first worker that does it is killed."""
    number, folder = job
    try:
        (folder / str(number)).mkdir()
    except FileExistsError:
        return number * number
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def die_always(_job: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_the_first_time(job: tuple[int, Path]) -> int:
    """Squares a number; whoever is first at a negative one never ends."""
    number, folder = job
    if number < 0:
        try:
            (folder / "first").mkdir()
        except FileExistsError:
            return number * number
        threading.Event().wait()
    return number * number


def mean(parameters: np.ndarray) -> float:
    return float(parameters.mean())


def twice(job: FileJob) -> int:
    """Writes what it reads two times over, and returns how many bytes that is."""
    assert job.source is not None
    job.path.parent.mkdir(exist_ok=True)
    return job.path.write_bytes(2 * job.source.read_bytes())


def write_late(job: FileJob) -> None:
    """Writes a file; whoever is first at the one called "late" stops halfway, and never ends."""
    with atomic_write(job.path) as aside:
        aside.write_text("half")
        if job.path.name == "late":
            assert job.source is not None
            try:
                job.source.mkdir()
            except FileExistsError:
                pass
            else:
                threading.Event().wait()
        aside.write_text("whole")


def wait_with_a_file(job: FileJob) -> None:
    """Copies what it reads, says where, and waits for ever."""
    assert job.source is not None
    job.path.parent.mkdir()
    job.path.write_bytes(job.source.read_bytes())
    print(job.path, flush=True)
    threading.Event().wait()


def exit_with_parent() -> None:
    """Says its number, and waits for ever, or until its parent has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=exit_after, args=(parent,), daemon=True).start()
    print(os.getpid(), flush=True)
    threading.Event().wait()
