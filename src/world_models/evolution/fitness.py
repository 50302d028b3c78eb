"""Controllers x seeds to returns, in any world."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from world_models.execution.crew import Crew
from world_models.models.controller import Controllers, ControllerSizes
from world_models.worlds.rollout import Played, joined, play
from world_models.worlds.world import World


def score(world: World, controllers: Controllers, seeds: Sequence[int]) -> Played:
    """Plays every controller on every seed, all at once, one episode a lane.

    Controllers share the seeds, so that luck with a track or a dream does not decide between
    them. Returns and lengths are (P, S). Raises ValueError for a world of fewer lanes.
    """
    every = np.arange(len(controllers) * len(seeds))
    return _in_rows(_play_pairs(world, controllers, seeds, every), len(controllers))


class Arena:
    """Worlds side by side, one a process, in which controllers are scored.

    In one world the lanes wait for each other at every step, and a network's threads at every
    layer; worlds in threads of one process wait for Python's lock, some hundred times a step.
    """

    def __init__(self, open_world: Callable[[int], World], lanes: int, crew: Crew) -> None:
        """Has each worker open a world when it first plays; they have so many lanes together.

        They are closed with the crew.
        """
        self.lanes = -(-lanes // crew.workers)
        self._crew = crew
        self._play = crew.open(partial(Ring, open_world, self.lanes))

    def score(self, controllers: Controllers, seeds: Sequence[int]) -> Played:
        """The same as `score`; episodes for which there is no lane wait for one."""
        total, workers = len(controllers) * len(seeds), self._crew.workers
        rounds = -(-total // (self.lanes * workers))
        parameters = controllers.parameters.numpy(force=True)
        shares = [
            Share(controllers.sizes, parameters, seeds, pairs)
            for pairs in np.array_split(np.arange(total), min(rounds * workers, total))
        ]
        played = dict(self._crew.run(self._play, shares))
        return _in_rows(joined([played[i] for i in range(len(shares))]), len(controllers))


@dataclass(frozen=True)
class Share:
    """What is played at a time in one world: some of the pairs of a controller and a seed."""

    sizes: ControllerSizes
    parameters: np.ndarray
    """Of all controllers (P, parameter_count)."""
    seeds: Sequence[int]
    """All of them (S,)."""
    pairs: np.ndarray
    """Pair p is controller p // S on seed p % S."""


class Ring:
    """One of an arena's worlds, in whichever process."""

    def __init__(self, open_world: Callable[[int], World], lanes: int) -> None:
        self._world = open_world(lanes)

    def __call__(self, share: Share) -> Played:
        """Plays the pairs, one a lane: an episode of each."""
        controllers = Controllers(share.sizes, torch.from_numpy(share.parameters))
        return _play_pairs(self._world, controllers, share.seeds, share.pairs)

    def close(self) -> None:
        """Closes the world."""
        self._world.close()


def _play_pairs(
    world: World, controllers: Controllers, seeds: Sequence[int], pairs: np.ndarray
) -> Played:
    if len(pairs) > world.num_envs:
        raise ValueError(f"{len(pairs)} episodes for {world.num_envs} lanes")
    which, seed = np.divmod(pairs, len(seeds))
    of_lanes = np.pad(which, (0, world.num_envs - len(which)))
    acting = controllers.at(torch.from_numpy(of_lanes)).to(world.device)
    return play(world, acting.act, [seeds[at] for at in seed], repeatable=True)


def _in_rows(played: Played, rows: int) -> Played:
    return Played(*(figure.reshape(rows, -1) for figure in played))
