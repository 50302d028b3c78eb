"""Dreams and games by name, as Gymnasium makes them.

`gymnasium.make("world_models:WorldModels/TakeCoverDream-v0", temperature=1.15)` is a dream of one
lane, `gymnasium.make_vec(..., num_envs=64)` one of many; `WorldModels/TakeCoverLatent-v0` is the
game seen through V and M. Each task has both.
"""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import TransformAction

from world_models.runtime.errors import ConfigError
from world_models.tasks import task_names

if TYPE_CHECKING:
    from world_models.agent import Agent
    from world_models.tasks.base import Task
    from world_models.worlds.dream import DreamWorld

TITLES = {"carracing": "CarRacing", "takecover": "TakeCover"}
"""Tasks whose names are not written as they sound. They are known here since Gymnasium is told of
every task without loading it."""
Actions = Literal["continuous", "discrete"]
"""C's own numbers in [-1, 1]; or a choice among the game's own actions."""


def register() -> None:
    """Tells Gymnasium of every task's dream and of its game seen through V and M."""
    for name in task_names():
        title = TITLES.get(name, name.capitalize())
        for kind, vector in (("Dream", f"{__name__}:make_dreams"), ("Latent", None)):
            gymnasium.register(
                f"WorldModels/{title}{kind}-v0",
                entry_point=f"{__name__}:make_{kind.lower()}",
                vector_entry_point=vector,
                kwargs={"task": name},
            )


def make_dream(
    task: str,
    models: str | Path | None = None,
    temperature: float | None = None,
    actions: Actions = "continuous",
    render_mode: str | None = None,
) -> gymnasium.Env[np.ndarray, Any]:
    """Opens a dream of one lane (paper, section 4).

    Its observation is what C sees, [z, h] or, where C sees M's cell state too, [z, h, c]: (F,)
    float32. Its action is (a,) in [-1, 1], or the number of a choice.

    Args:
        task: the game's name, such as `takecover`.
        models: whose dream it is, as `Agent.from_pretrained` takes it; None for the agent of this
            task that comes with the package.
        temperature: tau; None for the one that the agent's C was evolved or validated at.
        actions: `continuous`: C's numbers in [-1, 1]; `discrete`: the game's own choices.
        render_mode: `rgb_array`, or `human` for a window.

    Raises WorldModelsError where there is no such agent, it is of another task, or there is no
    screen for a window; ConfigError for a temperature that is not over 0, and for discrete actions
    where the game has none; ValueError for another render mode.
    """
    from world_models.worlds.single import SingleWorld

    agent = _agent(task, models)
    choices = _choices(agent.task, actions)
    world = agent.dream(1, temperature, drawn=render_mode is not None)
    return SingleWorld(world, render_mode, choices)


def make_dreams(
    task: str,
    num_envs: int = 1,
    models: str | Path | None = None,
    temperature: float | None = None,
    actions: Actions = "continuous",
    render_mode: str | None = None,
    autoreset_mode: AutoresetMode = AutoresetMode.NEXT_STEP,
) -> gymnasium.vector.VectorEnv[np.ndarray, Any, np.ndarray]:
    """Opens a dream of many lanes, which step together: observations are (num_envs, F) float32.

    Its arguments are those of `make_dream`, and its lanes those of as many single dreams with seeds
    that follow each other. No window shows them: ConfigError for the render mode `human`.
    """
    if render_mode not in (None, "rgb_array"):
        raise ConfigError(f"render_mode: {render_mode}; many lanes have rgb_array, or None")
    agent = _agent(task, models)
    choices = _choices(agent.task, actions)
    world = agent.dream(num_envs, temperature, AutoresetMode(autoreset_mode), bool(render_mode))
    return ChosenActions(world, choices) if choices else world


class ChosenActions(TransformAction):
    """A dream of many lanes whose actions are chosen by number."""

    def __init__(self, world: "DreamWorld", choices: Sequence[Sequence[float]]) -> None:
        """`choices` are the actions in [-1, 1] that the numbers stand for."""
        space = MultiDiscrete(np.full(world.num_envs, len(choices)))
        chosen = partial(np.take, np.asarray(choices, np.float32), axis=0)
        super().__init__(world, chosen, space, Discrete(len(choices)))
        self.autoreset_mode = world.autoreset_mode  # TorchRL asks for it


def make_latent(
    task: str,
    models: str | Path | None = None,
    actions: Actions = "continuous",
    render_mode: str | None = None,
) -> gymnasium.Env[np.ndarray, Any]:
    """Opens the game as an agent sees it, through V and M (paper, section 3).

    Observations and arguments are those of `make_dream`, and so are the errors that it raises. It
    raises ExtraError besides where the game's engine is not installed.
    """
    from world_models.worlds.games import open_lanes
    from world_models.worlds.single import SingleWorld

    agent = _agent(task, models)
    choices = _choices(agent.task, actions)
    with ExitStack() as opened:
        game = opened.enter_context(closing(open_lanes(agent.task, 1, "gymnasium")))
        env = SingleWorld(agent.real_world(game), render_mode, choices)
        opened.pop_all()  # the environment closes it
    return env


def _agent(task: str, models: str | Path | None) -> "Agent":
    from world_models.agent import Agent

    return Agent.from_pretrained(models or task, task)


def _choices(task: "Task", actions: str) -> tuple[tuple[float, ...], ...]:
    """The actions that a step chooses from; none where it takes C's own."""
    if actions not in ("continuous", "discrete"):
        raise ConfigError(f"actions: {actions}; there are: continuous, discrete")
    if actions == "discrete" and not task.choices:
        raise ConfigError(f"actions: discrete; {task.name} has none")
    return task.choices if actions == "discrete" else ()
