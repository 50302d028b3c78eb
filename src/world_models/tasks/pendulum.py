"""Gymnasium's Pendulum from pixels: swing a rod up and hold it there. Not the paper's; cheap."""

import numpy as np

from world_models.task import Task


def torque(actions: np.ndarray) -> np.ndarray:
    """Map one tanh output (..., 1) to a torque (..., 1) in [-2, 2] N m."""
    return 2 * actions


TASK = Task(
    name="pendulum",
    env_id="Pendulum-v1",
    observe="render",
    env_kwargs={"render_mode": "rgb_array"},
    # The rod swings within 125 pixels of the centre of a 500x500 picture.
    crop=(slice(122, 378), slice(122, 378)),
    action_size=1,
    time_limit=200,
    to_env=torque,
)
