"""Gymnasium's Pendulum from pixels: swing a rod up and hold it there. Not the paper's; cheap."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.pendulum import PendulumEnv

from world_models.tasks.base import Control, Task

ENV_ID = "world_models/Pendulum-v1"
"""The id that this module registers with Gymnasium."""


class DimPendulum(PendulumEnv):
    """Gymnasium's own game, its pictures half as bright.

    On the white page V's output saturates before it has drawn a rod, and V learns nothing more.
    """

    def __init__(self, drawn: bool = True, **kwargs: Any) -> None:
        """Opens the game; undrawn it is all black, and played in a twentieth of the time."""
        super().__init__(**kwargs)
        self.drawn = drawn

    def render(self) -> Any:
        """Returns the picture (500, 500, 3) of bytes, its page grey."""
        if not self.drawn:
            return np.zeros((self.screen_dim, self.screen_dim, 3), np.uint8)
        picture = super().render()
        return None if picture is None else picture // 2


gymnasium.register(ENV_ID, entry_point=f"{__name__}:DimPendulum", max_episode_steps=200)


def torque(actions: np.ndarray) -> np.ndarray:
    """Maps one tanh output (..., 1) to a torque (..., 1) in [-2, 2] N m."""
    return 2 * actions


TASK = Task(
    name="pendulum",
    env_id=f"{__name__}:{ENV_ID}",
    observe="render",
    env_kwargs={"render_mode": "rgb_array"},
    undrawn_kwargs={"drawn": False},
    # The rod swings within 125 pixels of the centre of a 500x500 picture.
    crop=(slice(122, 378), slice(122, 378)),
    action_size=1,
    time_limit=200,
    to_env=torque,
    controls=(Control("torque", "ArrowRight", "ArrowLeft"),),  # to the left is counted up
    # Not the paper's figures: it only sketches its swing-up.
    paper={
        "collect": {"policy": "held", "episodes": 1000, "longest_hold": [10, 40]},
        "vae": {"latent_size": 16, "batches": 20_000},
        "rnn": {"hidden_size": 128, "done_head": False, "steps": 200},
        "controller": {"train_in": "dream", "generations": 500, "validation_episodes": 100},
        "evaluate": {"video_steps": 200},
    },
)
