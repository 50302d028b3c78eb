"""Controllers x seeds to returns, in any world."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from queue import SimpleQueue
from threading import Event

import numpy as np
import torch
from torch import Tensor

from world_models.models.controller import Controllers
from world_models.worlds.rollout import Played, joined, play
from world_models.worlds.world import World


def score(world: World, controllers: Controllers, seeds: Sequence[int]) -> Played:
    """Plays every controller on every seed, all at once, one episode a lane.

    Controllers share the seeds, so that luck with a track or a dream does not decide between
    them. Returns and lengths are (P, S).
    """
    every = np.arange(len(controllers) * len(seeds))
    return _in_rows(_play_pairs(world, controllers, seeds, every), len(controllers))


class Arena:
    """Worlds side by side, one a core, in which controllers are scored.

    In one world the lanes wait for each other at every step, and a network's threads at every
    layer; worlds with a core each wait for nobody.
    """

    def __init__(
        self, open_world: Callable[[int], World], lanes: int, device: torch.device
    ) -> None:
        """Opens worlds that have so many lanes together; on a GPU it is a single one."""
        worlds = torch.get_num_threads() if device.type == "cpu" else 1
        self.lanes = -(-lanes // worlds)
        self._threads = max(1, torch.get_num_threads() // worlds)
        with ExitStack() as opened:
            count = -(-lanes // self.lanes)
            self.worlds = [
                opened.enter_context(closing(open_world(self.lanes))) for _ in range(count)
            ]
            self.close = opened.pop_all().close

    def score(self, controllers: Controllers, seeds: Sequence[int]) -> Played:
        """The same as `score`; episodes for which there is no lane wait for one."""
        total = len(controllers) * len(seeds)
        count = max(-(-total // self.lanes), min(len(self.worlds), total))
        shares = np.array_split(np.arange(total), count)
        free: SimpleQueue[World] = SimpleQueue()
        for world in self.worlds:
            free.put(world)
        stopped = Event()

        def play_share(pairs: np.ndarray) -> Played:
            world = free.get()
            try:
                return _play_pairs(world, controllers, seeds, pairs, stopped)
            finally:
                free.put(world)

        with ThreadPoolExecutor(len(self.worlds), initializer=self._share_cores) as pool:
            try:
                played = list(pool.map(play_share, shares))
            except BaseException:
                stopped.set()
                raise
        return _in_rows(joined(played), len(controllers))

    def _share_cores(self) -> None:
        torch.set_num_threads(self._threads)


def _play_pairs(
    world: World,
    controllers: Controllers,
    seeds: Sequence[int],
    pairs: np.ndarray,
    stopped: Event | None = None,
) -> Played:
    """Plays some pairs, one a lane; pair p is controller p // S on seed p % S."""
    which, seed = np.divmod(pairs, len(seeds))
    of_lanes = np.pad(which, (0, world.num_envs - len(which)))
    acting = controllers.at(torch.from_numpy(of_lanes)).to(world.device)

    def act(features: Tensor) -> Tensor:
        if stopped is not None and stopped.is_set():
            raise KeyboardInterrupt
        return acting.act(features)

    return play(world, act, [seeds[at] for at in seed], repeatable=True)


def _in_rows(played: Played, rows: int) -> Played:
    return Played(*(figure.reshape(rows, -1) for figure in played))
