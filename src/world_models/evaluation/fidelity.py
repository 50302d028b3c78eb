"""Is the dream true? The same simple policies in the dream and in the game, side by side."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from world_models.collecting.policies import Policy
from world_models.tasks.base import FRAME_SIZE, Simulator, Task
from world_models.worlds.dream import DreamWorld
from world_models.worlds.rollout import Played, joined, play, play_blind

LANES = 20
"""Games open at a time."""
NO_FRAME = np.zeros((FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
"""What a policy is shown in a dream that draws no pictures."""


def dreamed(dream: DreamWorld, policies: Sequence[Policy], seeds: Sequence[int]) -> Played:
    """Plays one episode of each policy in the dream, one policy a lane."""

    def act(features: Tensor) -> Tensor:
        frames = dream.render() or [NO_FRAME] * dream.num_envs
        chosen = [policy.act(frame) for policy, frame in zip(policies, frames, strict=True)]
        return torch.from_numpy(np.asarray(chosen, np.float32)).to(features.device)

    return play(dream, act, seeds)


def stand_still(task: Task, simulator: Simulator, seeds: Sequence[int]) -> Played:
    """Plays one episode a seed in the game, doing nothing."""
    still = Still(task)

    def nothing(playing: np.ndarray) -> np.ndarray:
        return np.stack([still.action] * len(playing))

    played = []
    for start in range(0, len(seeds), LANES):
        some = seeds[start : start + LANES]
        played.append(play_blind(task, simulator, nothing, some))
    return joined(played)


class Still:
    """Does nothing."""

    def __init__(self, task: Task) -> None:
        self.action = np.asarray(task.still or (0,) * task.action_size, np.float32)

    def act(self, frame: np.ndarray) -> np.ndarray:
        """Returns the task's action that does nothing (a,) float32, whatever the frame."""
        return self.action


def disagreement(dreamed: np.ndarray, real: np.ndarray) -> float:
    """Returns how far the dream's mean survival is off, as a share of the real one.

    Both are lengths of episodes in steps, (episodes,) each; as many or not.
    """
    return float(abs(dreamed.mean() - real.mean()) / real.mean())
