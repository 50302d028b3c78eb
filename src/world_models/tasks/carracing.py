"""CarRacing-v3: once round a random track, seen from above (paper, section 3)."""

from typing import Any

from world_models.tasks.base import Control, Task


def car_controls(actions: Any) -> Any:
    """Maps tanh outputs (..., 3) to steering [-1, 1], gas [0, 1], brake [0, 1] (authors' code).

    Takes numpy arrays and torch tensors; returns a new one of the same type and shape.
    """
    controls = actions * 1
    controls[..., 1] = (actions[..., 1] + 1) / 2
    controls[..., 2] = actions[..., 2].clip(0, 1)
    return controls


TASK = Task(
    name="carracing",
    # Gymnasium's CarRacing-v3, drawn faster and not a pixel different.
    env_id="world_models.worlds.car_racing:world_models/CarRacing-v3",
    undrawn_kwargs={"drawn": False},
    # The paper cuts off the status bar, which starts at row 84 of 96.
    crop=(slice(0, 84), slice(None)),
    action_size=3,
    time_limit=1000,
    to_env=car_controls,
    to_model=car_controls,
    # Nothing, right, left, gas, brake: those of CarRacing with continuous=False.
    choices=((0, -1, 0), (0.6, -1, 0), (-0.6, -1, 0), (0, -0.6, 0), (0, -1, 0.8)),
    controls=(
        Control("steering", "ArrowLeft", "ArrowRight"),
        Control("gas", None, "ArrowUp", rest=-1),
        Control("brake", None, "ArrowDown", rest=-1, least=0),
    ),
    still=(0, -1, 0),  # at 0 the gas is half down
    extra="box2d",
    envpool_id="CarRacing-v3",
    paper={"dream": {"temperature": 0.7}},  # of the authors' viewer
)
