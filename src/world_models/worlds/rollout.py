"""Playing whole episodes, in any world or in a game by itself."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from world_models.worlds.pixels import Lanes
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
    lanes: Lanes, act: Callable[[np.ndarray], np.ndarray], seeds: Sequence[int]
) -> Played:
    """One episode a lane in the game; `act` takes lanes (k,) to actions (k, a), unseeing."""
    lanes.reset(seeds)
    returns, lengths = np.zeros(lanes.count), np.zeros(lanes.count, np.int64)
    playing = np.arange(lanes.count)
    while len(playing):
        _, rewards, terminated, truncated = lanes.step(playing, act(playing))
        returns[playing] += rewards
        lengths[playing] += 1
        playing = playing[~(terminated | truncated)]
    return Played(returns, lengths)
