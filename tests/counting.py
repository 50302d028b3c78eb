"""A counting game: each of its frames says which step it is, what was done last, and the seed.

So any slip of frames, actions, rewards and ends against each other shows in the numbers.
"""

from dataclasses import replace

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box

from world_models.tasks.base import Task, identity
from world_models.vae.model import VAESizes

TIME_LIMIT = 9
ACTION_SCALE = 100


def length_of(seed: int) -> int:
    """Steps until an episode ends, if the time limit lets it."""
    return 4 + seed % 4


def ends_by_itself(seed: int) -> bool:
    """Every third seed never ends by itself: the time limit cuts it off."""
    return seed % 3 != 2


def expected_length(seed: int) -> int:
    """Steps of the seed's episode, however it ends."""
    return length_of(seed) if ends_by_itself(seed) else TIME_LIMIT


def reward_of(step: int) -> float:
    """The reward of the transition from frame `step` to frame `step + 1`."""
    return 10.0 + step


class Counting(gymnasium.Env[np.ndarray, np.ndarray]):
    """Frames of one colour: red counts steps, green holds the last action, blue the seed."""

    observation_space = Box(0, 255, (64, 64, 3), np.uint8)
    action_space = Box(-1, 1, (1,), np.float32)
    steps_taken = 0
    """By all games of this process."""

    def __init__(self, paid: int = TIME_LIMIT) -> None:
        """Only the first `paid` steps have a reward; the others cost 1."""
        self.paid = paid

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed_given, self.step_number, self.action = seed, 0, -1.0
        return self._frame(), {}

    def step(self, action):
        reward = reward_of(self.step_number) if self.step_number < self.paid else -1.0
        self.step_number += 1
        Counting.steps_taken += 1
        self.action = float(action[0])
        ended = self.step_number == length_of(self.seed_given) and ends_by_itself(self.seed_given)
        return self._frame(), reward, ended, False, {}

    def _frame(self):
        colour = (self.step_number, round((self.action + 1) * ACTION_SCALE), self.seed_given % 256)
        return np.broadcast_to(np.array(colour, np.uint8), (64, 64, 3)).copy()


gymnasium.register("Counting-v0", Counting)


COUNTING = Task(
    name="counting",
    env_id="tests.counting:Counting-v0",
    action_size=1,
    time_limit=TIME_LIMIT,
    to_env=identity,
)
DOUBLED = replace(COUNTING, to_model=lambda actions: 2 * actions)
"""M is fed something else than the game."""


def read_frame(frame: np.ndarray) -> tuple[int, float, int]:
    """What a frame says: step, last action, seed."""
    assert (frame == frame[0, 0]).all()
    step, action, seed = (int(value) for value in frame[0, 0])
    return step, action / ACTION_SCALE - 1, seed


class CountingVAE:
    """In V's place: the latent is what the frame says, known to within sigma."""

    device = torch.device("cpu")

    def __init__(self, sigma: float = 0.0) -> None:
        self.sizes = VAESizes(3)
        self.logvar = 2 * float(np.log(max(sigma, 1e-20)))

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """mu = (step, last action, seed)."""
        step, action, seed = (images[:, :, 0, 0] * 255).round().unbind(1)
        mu = torch.stack([step, action / ACTION_SCALE - 1, seed], dim=1)
        return mu, torch.full_like(mu, self.logvar)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """The frame that says so."""
        step, action, seed = latent.unbind(1)
        colours = torch.stack([step, (action + 1) * ACTION_SCALE, seed], dim=1) / 255
        return colours[:, :, None, None].expand(-1, -1, 64, 64)
