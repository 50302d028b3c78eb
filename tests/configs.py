"""Parameters for tests: those of scale smoke, with changes."""

from pathlib import Path
from typing import Any

import yaml

from world_models.config import STAGES

SMOKE = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())["smoke"]


SMALL_M = {
    "hidden_size": 16,
    "mixtures": 3,
    "restart_input": True,
    "reward_head": True,
    "done_head": True,
    "learning_rate": 1e-2,
    "gradient_clip": 1.0,
}
"""Of section rnn: an M with everything, that learns in seconds."""


def smoke(stage: str, task: str = "pendulum", **changes: Any) -> Any:
    """One stage's section; a test states all that it depends on."""
    return STAGES[stage](**(SMOKE[task][stage] | changes))


def changed(config: Any, **changes: Any) -> Any:
    """The same section with changes."""
    return type(config)(**(config.model_dump() | changes))
