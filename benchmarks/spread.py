"""Rows of a generation that is spread over workers, here and on Ray."""

from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from benchmarks import fixtures
from benchmarks.measure import Effort, Measured, Row, Work, compare
from world_models.controller.evaluator import (
    Batch,
    EvaluationWorker,
    ParallelEvaluator,
    batch_of,
)
from world_models.controller.policy import Controllers
from world_models.runtime.processes import OnRay, OpenPool, WorkerPool
from world_models.tasks import get_task
from world_models.worlds.config import DreamConfig
from world_models.worlds.dream import DreamFactory

TASK = "takecover"
CANDIDATES, SEEDS = 64, range(16)
"""The paper's generation."""
BATCHES = 8
STEPS = 50
"""Of an episode. The game's limit is 2,100: a generation would take minutes, and handing it out the
same milliseconds."""


def dreams() -> DreamFactory:
    """TakeCover's dreams on the CPU, all of them STEPS long."""
    rnn, starts = fixtures.rnn(TASK, "32-true"), torch.zeros(1, 2, 64)
    rnn = rnn.cpu()
    task = replace(get_task(TASK), time_limit=STEPS)
    return DreamFactory(task, rnn, rnn, starts, DreamConfig(), cell=True)


def candidates() -> Controllers:
    """A generation."""
    one = fixtures.controllers(TASK)
    torch.manual_seed(0)
    return Controllers(one.sizes, 0.1 * torch.randn(CANDIDATES, one.sizes.parameter_count))


def batches() -> list[Batch]:
    """The generation's."""
    pairs = np.array_split(np.arange(CANDIDATES * len(SEEDS)), BATCHES)
    return [batch_of(candidates(), SEEDS, some) for some in pairs]


class Bare:
    """A worker that plays its share of the batches with nobody to tell it which."""

    def __init__(self, workers: int) -> None:
        self._play = EvaluationWorker(dreams(), CANDIDATES * len(SEEDS) // BATCHES)
        self._batches, self._workers = batches(), workers

    def __call__(self, number: int) -> int:
        """Plays every so-manieth batch; returns how many episodes that was."""
        mine = self._batches[number :: self._workers]
        return sum(len(self._play(batch).returns) for batch in mine)

    def close(self) -> None:
        """Closes the world."""
        self._play.close()


def generation(open_pool: OpenPool, workers: int, effort: Effort) -> Measured:
    """Episodes a second of a generation, against the workers' own, side by side."""
    everyone, episodes = candidates(), CANDIDATES * len(SEEDS)
    with closing(open_pool(workers)) as pool, closing(WorkerPool(workers)) as bare:
        evaluator = ParallelEvaluator(dreams(), episodes, BATCHES, pool)
        alone = bare.open(partial(Bare, workers))

        def spread() -> int:
            return evaluator.evaluate(everyone, SEEDS).returns.size

        def side_by_side() -> int:
            return sum(played for _, played in bare.run(alone, range(workers)))

        return compare(Work(spread), [Work(side_by_side)], effort, "32-true")


def on_ray(workers: int, effort: Effort) -> Measured:
    """The same over a Ray of our own, which is gone afterwards."""
    import ray

    try:
        return generation(OnRay(None, workers, shared_files=True), workers, effort)
    finally:
        ray.shutdown()


OWN = "its workers alone"
ROWS = [
    Row("spread, 1 worker", OWN, "episodes", 0.9, partial(generation, WorkerPool, 1)),
    Row("spread, 2 workers", OWN, "episodes", 0.9, partial(generation, WorkerPool, 2)),
    Row("spread over Ray, 1 worker", OWN, "episodes", 0.9, partial(on_ray, 1)),
    Row("spread over Ray, 2 workers", OWN, "episodes", 0.9, partial(on_ray, 2)),
]
