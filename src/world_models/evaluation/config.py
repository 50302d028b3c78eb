"""How agents are scored, and how dreams are held against the game."""

from typing import Annotated

from pydantic import Field

from world_models.runtime.config import Config, Count


class FidelityConfig(Config):
    """Simple policies in the dream and in the game, side by side."""

    episodes: Count = 100
    """Episodes of each policy in the dream, and of standing still in the game."""


class EvaluateConfig(Config):
    """The final scores, and the video."""

    episodes: Annotated[int, Field(ge=2)] = 100
    """Held-out seeds that are played in each world."""
    lanes: Count = 10
    """Episodes side by side in a process."""
    video_steps: Count = 600
    """Steps of the video, at most."""
