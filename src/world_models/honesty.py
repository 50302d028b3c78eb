"""Is the dream true? The same simple policies in the dream and in the game, side by side."""

from collections.abc import Callable, Sequence

import numpy as np

from world_models.collecting import RandomPolicy
from world_models.tasks import Task
from world_models.worlds.dream import DreamWorld
from world_models.worlds.pixels import Lanes, Simulator, open_lanes
from world_models.worlds.rollout import play

LANES = 20
"""Games open at a time."""
NO_FRAME = np.zeros((64, 64, 3), np.uint8)
"""What a policy is shown in a dream that draws no pictures."""


def dreamed_returns(
    dream: DreamWorld, policies: Sequence[RandomPolicy], seeds: Sequence[int]
) -> np.ndarray:
    """Returns of one episode of each policy in the dream, one policy a lane: (lanes,)."""

    def act(features: np.ndarray) -> np.ndarray:
        frames = dream.render() or [NO_FRAME] * dream.num_envs
        chosen = [policy.act(frame) for policy, frame in zip(policies, frames, strict=True)]
        return np.asarray(chosen, np.float32)

    return play(dream, act, seeds).returns


def real_returns(
    lanes: Lanes, act: Callable[[np.ndarray], np.ndarray], seeds: Sequence[int]
) -> np.ndarray:
    """Returns of one episode a lane in the game; `act` takes lanes (k,) to actions (k, a)."""
    lanes.reset(seeds)
    returns = np.zeros(lanes.count)
    playing = np.arange(lanes.count)
    while len(playing):
        _, rewards, terminated, truncated = lanes.step(playing, act(playing))
        returns[playing] += rewards
        playing = playing[~(terminated | truncated)]
    return returns


def still_returns(task: Task, simulator: Simulator, seeds: Sequence[int]) -> np.ndarray:
    """Returns of doing nothing in the game, one episode a seed: (seeds,)."""

    def nothing(playing: np.ndarray) -> np.ndarray:
        return np.zeros((len(playing), task.action_size), np.float32)

    returns = []
    for start in range(0, len(seeds), LANES):
        some = seeds[start : start + LANES]
        lanes = open_lanes(task, len(some), simulator)
        try:
            returns.append(real_returns(lanes, nothing, some))
        finally:
            lanes.close()
    return np.concatenate(returns)


class Still:
    """Does nothing."""

    def __init__(self, action_size: int) -> None:
        self.action = np.zeros(action_size, np.float32)

    def act(self, frame: np.ndarray) -> np.ndarray:
        """Zeros, whatever the frame."""
        return self.action


def disagreement(dreamed: np.ndarray, real: np.ndarray) -> float:
    """How far the dream's mean return is off, as a share of the real one: 0 is the truth."""
    return float(abs(dreamed.mean() - real.mean()) / abs(real.mean()))
