"""What a task is: a game, the view of it that V sees, and what an action means in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

FRAME_SIZE = 64
"""Height and width, in pixels, of every frame that V sees (paper, appendix A.1)."""

Simulator = Literal["gymnasium", "envpool"]
"""The official game, or EnvPool's fast copy of it."""
Observe = Literal["observation", "screen", "render"]
"""Where the raw frame comes from: the observation, its key "screen", or `render()`."""


def identity(actions: Any) -> Any:
    """Returns the actions unchanged: what M is fed where the paper feeds it C's raw output."""
    return actions


class Control(NamedTuple):
    """One number of an action, as a person has it in hand."""

    name: str
    less: str | None
    """The key that makes it -1, as browsers call keys; None for none."""
    more: str | None
    """The key that makes it 1."""
    rest: float = 0.0
    """What it is while no key is down."""
    least: float = -1.0
    """Up to which number it does nothing, where it goes one way only."""


@dataclass(frozen=True)
class Task:
    """One game and how a world model sees and plays it.

    An action of C, here and in the data store, is `action_size` float32 numbers in [-1, 1]: the
    tanh of C's linear map. The two maps below say what it means; both take any leading shape.
    """

    name: str
    """The task's module in `world_models.tasks`, its key in params.yaml and on the command line."""
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
    choices: tuple[tuple[float, ...], ...] = ()
    """C's actions for each of the game's own discrete ones, in its order; empty if it has none."""
    controls: tuple[Control, ...] = ()
    """How a person plays it, a control for each number of an action."""
    to_model: Callable[[Any], Any] = identity
    """(..., action_size) in [-1, 1] to what M is fed, the same shape; numpy arrays and tensors."""
    still: tuple[float, ...] | None = None
    """The action that does nothing; None for zeros."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the environment."""
    undrawn_kwargs: dict[str, Any] = field(default_factory=dict)
    """More of them, which switch its pictures off for play that never looks at them.

    Empty where the environment has no such switch.
    """
    observe: Observe = "observation"
    """Where the raw frame, (height, width, 3) uint8, comes from."""
    crop: tuple[slice, slice] = (slice(None), slice(None))
    """Rows and columns of the raw frame that are resized to 64x64."""
    blank_end: bool = False
    """Where an episode ends, the environment shows nothing, and the frame before is repeated."""
    threads: bool = False
    """The environment's step waits for another process, so lanes are stepped in threads."""
    shared_memory: int = 0
    """Bytes of shared memory, in /dev/shm, that this process and a lane's game have in common."""
    extra: str | None = None
    """The extra of this package that brings the game's engine; None where the package does."""
    envpool_id: str | None = None
    """Id of the same game in EnvPool, a fast simulator to train on; None where there is none."""
    paper: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The game's own values in the paper, by section of params.yaml and by name.

    What both of the paper's games share are the defaults of the sections.
    """

    def undrawn(self) -> Task:
        """Returns the same game, which may show nothing: equal rewards and ends, in less time."""
        return replace(self, env_kwargs=self.env_kwargs | self.undrawn_kwargs)
