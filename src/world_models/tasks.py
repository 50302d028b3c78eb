"""What a task is: a game, the view of it that V sees, and what an action means in it.

Everything that tells one game from another stands here. To add a task, add one entry to `TASKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from world_models.errors import ConfigError

FRAME_SIZE = 64
"""Height and width, in pixels, of every frame that V sees (paper, appendix A.1)."""

Observe = Literal["observation", "screen", "render"]
"""Where the raw frame comes from: the observation, its key "screen", or `render()`."""


def identity(actions: Any) -> Any:
    """Return the actions unchanged: what M is fed where the paper feeds it C's raw output."""
    return actions


@dataclass(frozen=True)
class Task:
    """One game and how a world model sees and plays it.

    An action of C, here and in the data store, is `action_size` float32 numbers in [-1, 1]: the
    tanh of C's linear map. The two maps below say what it means; both take any leading shape.
    """

    name: str
    """The task's key in `TASKS`, in params.yaml and on the command line."""
    env_id: str
    """Gymnasium id of the real environment, the one that scores are reported from.

    "module:Id" where a module has to be imported to register it.
    """
    action_size: int
    """Number of components of an action."""
    time_limit: int
    """Steps after which an episode is truncated."""
    to_env: Callable[[np.ndarray], np.ndarray]
    """(..., action_size) in [-1, 1] to a batch of the environment's own actions."""
    to_model: Callable[[Any], Any] = identity
    """(..., action_size) in [-1, 1] to what M is fed, the same shape; numpy arrays and tensors."""
    still: tuple[float, ...] | None = None
    """The action that does nothing; None for zeros."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the environment."""
    observe: Observe = "observation"
    """Where the raw frame, (height, width, 3) uint8, comes from."""
    crop: tuple[slice, slice] = (slice(None), slice(None))
    """Rows and columns of the raw frame that are resized to 64x64."""
    blank_end: bool = False
    """The environment shows nothing when it terminates: the frame before is repeated there."""
    threads: bool = False
    """The environment's step waits for another process, so lanes are stepped in threads."""
    envpool_id: str | None = None
    """Id of the same game in EnvPool, a fast simulator to train on; None where there is none."""
    envpool_kwargs: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the EnvPool environment."""


def get_task(name: str) -> Task:
    """Return the task called `name`; a ConfigError names the known ones if there is none."""
    if name not in TASKS:
        raise ConfigError(f"unknown task {name!r}; known tasks: {', '.join(sorted(TASKS))}")
    return TASKS[name]


def car_controls(actions: Any) -> Any:
    """Map tanh outputs (..., 3) to steering [-1, 1], gas [0, 1], brake [0, 1] (authors' code).

    Takes numpy arrays and torch tensors; returns a new one of the same type and shape.
    """
    controls = actions * 1
    controls[..., 1] = (actions[..., 1] + 1) / 2
    controls[..., 2] = actions[..., 2].clip(0, 1)
    return controls


def dodge(actions: np.ndarray) -> np.ndarray:
    """Map one tanh output (..., 1) to ViZDoom's 0 stay, 1 right, 2 left (paper, section 4.3).

    The paper splits [-1, 1] in three: below -1/3 left, above 1/3 right, else stay.
    """
    lean = actions[..., 0]
    return np.where(lean > 1 / 3, 1, np.where(lean < -1 / 3, 2, 0))


def torque(actions: np.ndarray) -> np.ndarray:
    """Map one tanh output (..., 1) to a torque (..., 1) in [-2, 2] N m."""
    return 2 * actions


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        # The paper cuts off the status bar, which starts at row 84 of 96.
        Task(
            name="carracing",
            # Gymnasium's CarRacing-v3, drawn faster and not a pixel different.
            env_id="world_models.worlds.car_racing:world_models/CarRacing-v3",
            crop=(slice(0, 84), slice(None)),
            action_size=3,
            time_limit=1000,
            to_env=car_controls,
            to_model=car_controls,
            still=(0, -1, 0),  # at 0 the gas is half down
            envpool_id="CarRacing-v3",
        ),
        # The paper's view is the top 400 of 480 rows with the status bar on; with the bar off,
        # as the scenario is shipped now, those are rows 20:220 of 240.
        Task(
            name="takecover",
            env_id="vizdoom.gymnasium_wrapper:VizdoomTakeCover-v1",
            env_kwargs={"doom_skill": 4},
            observe="screen",
            crop=(slice(20, 220), slice(None)),
            blank_end=True,
            threads=True,
            action_size=1,
            time_limit=2100,
            to_env=dodge,
        ),
        # The rod swings within 125 pixels of the centre of a 500x500 picture.
        Task(
            name="pendulum",
            env_id="Pendulum-v1",
            observe="render",
            env_kwargs={"render_mode": "rgb_array"},
            crop=(slice(122, 378), slice(122, 378)),
            action_size=1,
            time_limit=200,
            to_env=torque,
        ),
    )
}
"""Every task, by name."""
