"""Controllers x seeds to returns, in any world."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from contextlib import ExitStack, closing
from queue import SimpleQueue
from threading import Event

import numpy as np
import torch

from world_models.execution import sharing_cores
from world_models.models.controller import Controllers
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
        with ExitStack() as opened:
            count = -(-lanes // self.lanes)
            self.worlds = [
                opened.enter_context(closing(open_world(self.lanes))) for _ in range(count)
            ]
            self.close = opened.pop_all().close

    def score(self, controllers: Controllers, seeds: Sequence[int]) -> Played:
        """The same as `score`; episodes for which there is no lane wait for one."""
        total, worlds = len(controllers) * len(seeds), len(self.worlds)
        rounds = -(-total // (self.lanes * worlds))
        shares = np.array_split(np.arange(total), min(rounds * worlds, total))
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

        with sharing_cores(worlds) as pool:
            playing = [pool.submit(play_share, pairs) for pairs in shares]
            try:
                for over in wait(playing, return_when=FIRST_EXCEPTION).done:
                    over.result()  # raises what ended it
            finally:
                stopped.set()
        played = [share.result() for share in playing]
        return _in_rows(joined(played), len(controllers))


def _play_pairs(
    world: World,
    controllers: Controllers,
    seeds: Sequence[int],
    pairs: np.ndarray,
    stopped: Event | None = None,
) -> Played:
    """Plays some pairs, one a lane; pair p is controller p // S on seed p % S."""
    if len(pairs) > world.num_envs:
        raise ValueError(f"{len(pairs)} episodes for {world.num_envs} lanes")
    which, seed = np.divmod(pairs, len(seeds))
    of_lanes = np.pad(which, (0, world.num_envs - len(which)))
    acting = controllers.at(torch.from_numpy(of_lanes)).to(world.device)
    return play(world, acting.act, [seeds[at] for at in seed], repeatable=True, stopped=stopped)


def _in_rows(played: Played, rows: int) -> Played:
    return Played(*(figure.reshape(rows, -1) for figure in played))
