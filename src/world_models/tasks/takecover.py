"""ViZDoom TakeCover: stay alive while monsters throw fireballs (paper, section 4)."""

import numpy as np

from world_models.tasks.base import Control, Task


def dodge(actions: np.ndarray) -> np.ndarray:
    """Maps one tanh output (..., 1) to ViZDoom's 0 stay, 1 right, 2 left (paper, section 4.3).

    The paper splits [-1, 1] in three: below -1/3 left, above 1/3 right, else stay.
    """
    lean = actions[..., 0]
    return np.where(lean > 1 / 3, 1, np.where(lean < -1 / 3, 2, 0))


TASK = Task(
    name="takecover",
    env_id="vizdoom.gymnasium_wrapper:VizdoomTakeCover-v1",
    env_kwargs={"doom_skill": 4},
    observe="screen",
    # The paper's view is the top 400 of 480 rows with the status bar on; with the bar off, as the
    # scenario is shipped now, those are rows 20:220 of 240.
    crop=(slice(20, 220), slice(None)),
    blank_end=True,
    threads=True,
    shared_memory=264 * 1024,  # nearly all of it the picture
    extra="doom",
    action_size=1,
    time_limit=2100,
    to_env=dodge,
    choices=((0,), (1,), (-1,)),  # stay, right, left
    controls=(Control("step", "ArrowLeft", "ArrowRight"),),
    paper={
        "collect": {"policy": "held", "shortest": 100},
        "vae": {"latent_size": 64, "batches": 325_000, "validate_every": 12_500},
        "rnn": {
            "hidden_size": 512,
            "restart_input": True,
            "reward_head": False,  # each step survived is worth 1
            "batches": 24_400,
            "steps": 500,
            "learning_rate_decay": 0.99999,
            "learning_rate_floor": 0.00001,
            "validate_every": 610,
        },
        "dream": {"temperature": 1.15},  # the paper's best; its code has 1.25
        "controller": {"train_in": "dream", "cell": True, "bias": False, "generations": 2000},
    },
)
