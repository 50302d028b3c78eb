"""One lane of a world as a plain Gymnasium environment, for libraries that take no vectors."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode

from world_models.worlds.base import World
from world_models.worlds.window import Window

RENDER_MODES = ("rgb_array", "human")


class SingleWorld(gymnasium.Env[np.ndarray, Any]):
    """A world of one lane without its axis of lanes; `reset` and `step` are Gymnasium's own."""

    def __init__(
        self,
        world: World,
        render_mode: str | None = None,
        choices: Sequence[Sequence[float]] = (),
    ) -> None:
        """Takes a world of one lane that doesn't restart by itself; ValueError for any other.

        Args:
            render_mode: Gymnasium's, `rgb_array` or `human`; None has what the world has. `human`
                shows each frame in a window; WorldModelsError where there is no screen for it.
            choices: actions, in [-1, 1], of which a step takes one by its number; without any it
                takes an action itself.
        """
        if world.num_envs != 1 or world.metadata["autoreset_mode"] is not AutoresetMode.DISABLED:
            raise ValueError("a single world needs one lane, with autoreset disabled")
        if render_mode not in (None, *RENDER_MODES):
            raise ValueError(f"render_mode: {render_mode}; there are: {', '.join(RENDER_MODES)}")
        self.world = world
        self.observation_space = world.single_observation_space
        self.choices = np.asarray(choices, np.float32)
        self.action_space: gymnasium.Space[Any] = (
            Discrete(len(choices)) if len(choices) else world.single_action_space
        )
        self.render_mode = render_mode or world.render_mode
        shared = {k: v for k, v in world.metadata.items() if k != "autoreset_mode"}
        self.metadata = shared | {"render_modes": list(RENDER_MODES)}
        self._window = Window() if render_mode == "human" else None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode: the one of this seed, or the next after the one of the seed given
        last."""
        super().reset(seed=seed)
        features, info = self.world.reset(seed=None if seed is None else [seed], options=options)
        self._show()
        return features[0], info

    def step(
        self, action: np.ndarray | int
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Takes a step: action (a,) in [-1, 1], or the number of a choice.

        Returns the observation (F,) float32, the reward, and whether the game or a limit has ended
        the episode. Raises Gymnasium's ResetNeeded before the first reset.
        """
        action = self.choices[action] if len(self.choices) else np.asarray(action)
        features, rewards, terminated, truncated, info = self.world.step(action[None])
        self._show()
        return features[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> np.ndarray | None:
        """Returns what the lane shows: a frame (64, 64, 3) of bytes, if the world draws any.

        Nothing where it is shown in a window.
        """
        return None if self._window else self._frame()

    def _frame(self) -> np.ndarray | None:
        frames = self.world.render()
        return None if frames is None else frames[0]

    def _show(self) -> None:
        if self._window is not None and (frame := self._frame()) is not None:
            self._window.show(frame, self.metadata["render_fps"])

    def close(self) -> None:
        """Closes the world, and its window."""
        if self._window is not None:
            self._window.close()
        self.world.close()
