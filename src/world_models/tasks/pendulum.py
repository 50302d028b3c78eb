"""Gymnasium's Pendulum from pixels: swing a rod up and hold it there. Not the paper's; cheap."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.pendulum import PendulumEnv

from world_models.task import Task

ENV_ID = "world_models/Pendulum-v1"
"""The id that this module registers with Gymnasium."""


class DimPendulum(PendulumEnv):
    """Gymnasium's own game, its pictures half as bright.

    On the white page V's output saturates before it has drawn a rod, and V learns nothing more.
    """

    def render(self) -> Any:
        """The picture (500, 500, 3) of bytes, its page grey."""
        picture = super().render()
        return None if picture is None else picture // 2


gymnasium.register(ENV_ID, entry_point=f"{__name__}:DimPendulum", max_episode_steps=200)


def torque(actions: np.ndarray) -> np.ndarray:
    """Map one tanh output (..., 1) to a torque (..., 1) in [-2, 2] N m."""
    return 2 * actions


TASK = Task(
    name="pendulum",
    env_id=f"{__name__}:{ENV_ID}",
    observe="render",
    env_kwargs={"render_mode": "rgb_array"},
    # The rod swings within 125 pixels of the centre of a 500x500 picture.
    crop=(slice(122, 378), slice(122, 378)),
    action_size=1,
    time_limit=200,
    to_env=torque,
)
