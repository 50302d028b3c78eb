"""Controllers x seeds to returns, in any world."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch

from world_models.controller.policy import Controllers, ControllerSizes
from world_models.runtime.devices import one_thread
from world_models.runtime.processes import Pool
from world_models.worlds.base import World
from world_models.worlds.rollout import Played, joined, play


def evaluate(world: World, controllers: Controllers, seeds: Sequence[int]) -> Played:
    """Plays every controller on every seed, all at once, one episode a lane.

    Controllers share the seeds, so that luck with a track or a dream does not decide between
    them. Returns and lengths are (P, S). Raises ValueError for a world of fewer lanes.
    """
    every = np.arange(len(controllers) * len(seeds))
    played = _play_batch(world, batch_of(controllers, seeds, every))
    return _in_rows(played, len(controllers))


class Evaluator(Protocol):
    """Scores controllers."""

    def evaluate(self, controllers: Controllers, seeds: Sequence[int]) -> Played:
        """Plays every controller on every seed: returns and lengths (P, S)."""


class ParallelEvaluator:
    """Worlds side by side, one a worker, in which controllers are scored.

    What is played together, and so what a network rounds, hangs on the number of batches, never on
    that of workers. In one world the lanes wait for each other at every step, and a network's
    threads at every layer; worlds in threads of one process wait for Python's lock, some hundred
    times a step.
    """

    def __init__(
        self, open_world: Callable[[int], World], lanes: int, batches: int, pool: Pool
    ) -> None:
        """Has each worker open a world when it first plays; so many batches have these lanes.

        The worlds are closed with the pool.
        """
        self.lanes = -(-lanes // batches)
        self._batches, self._pool = batches, pool
        self._play = pool.open(partial(EvaluationWorker, open_world, self.lanes))

    def evaluate(self, controllers: Controllers, seeds: Sequence[int]) -> Played:
        """Does what the function `evaluate` does; episodes that have no lane wait for one."""
        total = len(controllers) * len(seeds)
        batches = self._batches * -(-total // (self.lanes * self._batches))
        jobs = [
            batch_of(controllers, seeds, pairs)
            for pairs in np.array_split(np.arange(total), min(batches, total))
        ]
        played = dict(self._pool.run(self._play, jobs))
        return _in_rows(joined([played[i] for i in range(len(jobs))]), len(controllers))


class DividedEvaluator:
    """Several worlds, in each of which a share of the seeds is played.

    With fewer seeds than worlds, the last worlds have none.
    """

    def __init__(self, parts: Sequence[ParallelEvaluator]) -> None:
        self._parts = parts

    def evaluate(self, controllers: Controllers, seeds: Sequence[int]) -> Played:
        """Plays every controller on every seed; returns and lengths are (P, S), as elsewhere."""
        shares = np.array_split(np.asarray(seeds), len(self._parts))
        played = [
            part.evaluate(controllers, share.tolist())
            for part, share in zip(self._parts, shares, strict=True)
            if len(share)
        ]
        return Played(*(np.concatenate(figures, axis=1) for figures in zip(*played, strict=True)))


@dataclass(frozen=True)
class Batch:
    """Some episodes that one world plays at a time, and the controllers that play them."""

    sizes: ControllerSizes
    parameters: np.ndarray
    """Of these controllers alone (C, parameter_count): a batch is sent to whoever plays it."""
    which: np.ndarray
    """The controller of each episode (episodes,)."""
    seeds: list[int]
    """The seed of each episode."""


def batch_of(controllers: Controllers, seeds: Sequence[int], pairs: np.ndarray) -> Batch:
    """Returns the batch of some pairs in a row: pair p is controller p // S on seed p % S."""
    which, seed = np.divmod(pairs, len(seeds))
    some = controllers.parameters[which[0] : which[-1] + 1].numpy(force=True)
    return Batch(controllers.sizes, some, which - which[0], [seeds[at] for at in seed])


class EvaluationWorker:
    """Plays batches in a world of its own, in whichever process it is opened."""

    def __init__(self, open_world: Callable[[int], World], lanes: int) -> None:
        self._world = open_world(lanes)

    def __call__(self, batch: Batch) -> Played:
        """Plays the episodes, one a lane."""
        with one_thread(self._world.device):
            return _play_batch(self._world, batch)

    def close(self) -> None:
        """Closes the world."""
        self._world.close()


def _play_batch(world: World, batch: Batch) -> Played:
    if len(batch.seeds) > world.num_envs:
        raise ValueError(f"{len(batch.seeds)} episodes for {world.num_envs} lanes")
    controllers = Controllers(batch.sizes, torch.tensor(batch.parameters))
    of_lanes = np.pad(batch.which, (0, world.num_envs - len(batch.which)))
    acting = controllers.at(torch.from_numpy(of_lanes)).to(world.device)
    return play(world, acting.act, batch.seeds, repeatable=True)


def _in_rows(played: Played, rows: int) -> Played:
    return Played(*(figure.reshape(rows, -1) for figure in played))
