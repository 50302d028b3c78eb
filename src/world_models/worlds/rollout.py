"""Playing whole episodes, in any world or in a game by itself."""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np

from world_models.config import Simulator
from world_models.task import Task
from world_models.worlds.pixels import open_lanes
from world_models.worlds.world import World

Policy = Callable[[np.ndarray], np.ndarray]
"""Features (lanes, F) to actions (lanes, a) in [-1, 1]."""


class Played(NamedTuple):
    """What came of one episode a lane."""

    returns: np.ndarray
    """Sums of rewards (lanes,)."""
    lengths: np.ndarray
    """Steps (lanes,)."""


def play(world: World, policy: Policy, seeds: Sequence[int]) -> Played:
    """Plays one episode in each lane, lane i from seeds[i], until the last one ends."""
    features, _ = world.reset(seed=seeds)
    returns = np.zeros(world.num_envs)
    lengths = np.zeros(world.num_envs, np.int64)
    playing = np.ones(world.num_envs, bool)
    while playing.any():
        features, rewards, terminated, truncated, _ = world.step(policy(features))
        returns += rewards * playing
        lengths += playing
        playing &= ~(terminated | truncated)
    return Played(returns, lengths)


def play_blind(
    task: Task,
    simulator: Simulator,
    act: Callable[[np.ndarray], np.ndarray],
    seeds: Sequence[int],
) -> Played:
    """One episode a seed in the game, side by side in as many lanes.

    `act` takes lanes (k,) to actions (k, a) and sees nothing, so nothing needs to be drawn.
    """
    returns, lengths = np.zeros(len(seeds)), np.zeros(len(seeds), np.int64)
    playing = np.arange(len(seeds))
    with closing(open_lanes(task.undrawn(), len(seeds), simulator)) as lanes:
        lanes.reset(seeds)
        while len(playing):
            _, rewards, terminated, truncated = lanes.step(playing, act(playing))
            returns[playing] += rewards
            lengths[playing] += 1
            playing = playing[~(terminated | truncated)]
    return Played(returns, lengths)
