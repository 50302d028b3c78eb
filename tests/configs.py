"""Parameters for tests: those of scale smoke, with changes."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from world_models.params import SECTIONS, Params

PARAMS = Path(__file__).parents[1] / "params.yaml"
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


@lru_cache
def in_force(task: str) -> Params:
    """The parameters of a task's first round at scale smoke."""
    return Params(PARAMS, task, "smoke")


def smoke(section: str, task: str = "pendulum", **changes: Any) -> Any:
    """One section with changes; a test states all that it depends on."""
    return changed(in_force(task).section(SECTIONS[section]), **changes)


def changed(config: Any, **changes: Any) -> Any:
    """The same section with changes."""
    return type(config)(**(config.model_dump() | changes))
