"""One lane of a world as a plain Gymnasium environment, for libraries that take no vectors."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from world_models.worlds.base import World


class SingleWorld(gymnasium.Env[np.ndarray, np.ndarray]):
    """A world of one lane without its axis of lanes; `reset` and `step` are Gymnasium's own."""

    def __init__(self, world: World) -> None:
        """Takes a world of one lane that doesn't restart by itself; ValueError for any other."""
        if world.num_envs != 1 or world.metadata["autoreset_mode"] is not AutoresetMode.DISABLED:
            raise ValueError("a single world needs one lane, with autoreset disabled")
        self.world = world
        self.observation_space = world.single_observation_space
        self.action_space = world.single_action_space
        self.render_mode = world.render_mode
        self.metadata = {k: v for k, v in world.metadata.items() if k != "autoreset_mode"}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode: the one of this seed, or the next of the seed given last."""
        super().reset(seed=seed)
        episode = int(self.np_random.integers(2**31)) if seed is None else seed
        features, info = self.world.reset(seed=[episode], options=options)
        return features[0], info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Takes a step: action (a,) in [-1, 1]."""
        features, rewards, terminated, truncated, info = self.world.step(action[None])
        return features[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> np.ndarray | None:
        """Returns what the lane shows: a frame (64, 64, 3) of bytes, if the world draws any."""
        frames = self.world.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Closes the world."""
        self.world.close()
