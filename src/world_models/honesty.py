"""Is the dream true? The same simple policies in the dream and in the game, side by side."""

from collections.abc import Callable, Sequence

import numpy as np

from world_models.collecting import RandomPolicy
from world_models.worlds.dream import DreamWorld
from world_models.worlds.pixels import Lanes
from world_models.worlds.rollout import play


def dreamed_returns(
    dream: DreamWorld, policies: Sequence[RandomPolicy], seeds: Sequence[int]
) -> np.ndarray:
    """Returns of one episode of each policy in the dream, one policy a lane: (lanes,)."""

    def act(features: np.ndarray) -> np.ndarray:
        frames = dream.render() or [None] * dream.num_envs
        chosen = [policy.act(frame) for policy, frame in zip(policies, frames, strict=True)]
        return np.asarray(chosen, np.float32)

    return play(dream, act, seeds).returns


def real_returns(
    lanes: Lanes, act: Callable[[np.ndarray], np.ndarray], seeds: Sequence[int]
) -> np.ndarray:
    """Returns of one episode a lane in the game: `act` gives the actions of lanes (k,) as (k, a)."""
    lanes.reset(seeds)
    returns = np.zeros(lanes.count)
    playing = np.arange(lanes.count)
    while len(playing):
        _, rewards, terminated, truncated = lanes.step(playing, act(playing))
        returns[playing] += rewards
        playing = playing[~(terminated | truncated)]
    return returns


def disagreement(dreamed: np.ndarray, real: np.ndarray) -> float:
    """How far the dream's mean return is off, as a share of the real one: 0 is the truth."""
    return float(abs(dreamed.mean() - real.mean()) / abs(real.mean()))
