"""A game of one's own that shows and pays what no game should."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from world_models.tasks.base import Task, identity

PICTURE = np.zeros((64, 64, 3), np.uint8)
STRANGE_AT = 3
"""The step that pays the strange reward; the others pay 1."""


class Strange(gymnasium.Env[Any, np.ndarray]):
    """Shows one thing in every frame, as its observation and as its picture."""

    observation_space = Box(0, 255, (64, 64, 3), np.uint8)
    action_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, shown: Any = PICTURE, paid: Any = 1.0) -> None:
        self.shown, self.paid = shown, paid

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return self.shown, {}

    def step(self, action):
        self.steps += 1
        return self.shown, self.paid if self.steps == STRANGE_AT else 1.0, False, False, {}

    def render(self):
        return self.shown


gymnasium.register("Strange-v0", Strange)


def strange(**of_the_game: Any) -> Task:
    """The task of a game that shows or pays this."""
    return Task(
        name="strange",
        env_id="tests.strange:Strange-v0",
        env_kwargs=of_the_game,
        action_size=1,
        time_limit=9,
        to_env=identity,
    )
