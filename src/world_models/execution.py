"""Where work runs: in this process, or spread over local ones."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from world_models.errors import WorldModelsError

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[int, Result]]:
    """Runs `work` on every job and yields (number of the job, result) as they end.

    A job's result must not depend on the process that runs it. A worker that dies is an error,
    never a hang. With one worker the jobs run here.
    """
    if workers == 1:
        yield from ((number, work(job)) for number, job in enumerate(jobs))
        return
    # Spawned, not forked: torch's and the games' threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    workers = min(workers, len(jobs))
    threads = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(workers, context, _start_worker, (threads,)) as pool:
        numbers = {pool.submit(work, job): number for number, job in enumerate(jobs)}
        try:
            for future in as_completed(numbers):
                yield numbers[future], future.result()
        except BrokenProcessPool:
            raise WorldModelsError(
                "a worker process died (out of memory?); run again, with fewer workers if it recurs"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _start_worker(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
