"""How episodes are collected."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from world_models.runtime.config import Config, Count, Natural, Share
from world_models.tasks.base import Simulator


class CollectConfig(Config):
    """The data set, and who plays in it."""

    policy: Literal["brownian", "held", "random-network", "agent"] = "random-network"
    """Who plays. brownian: actions that drift; held: uniform actions, each held for a while;
    random-network: V, M and C with random weights; agent: the agent of the round before."""
    simulator: Simulator = "gymnasium"
    """Which game is played: gymnasium, the official one, or envpool, a fast copy (CarRacing)."""
    episodes: Annotated[int, Field(ge=2, le=1_000_000)] = 10_000
    """Episodes that the round plays."""
    shard_episodes: Count = 10
    """Episodes in a file."""
    shortest: Natural = 0
    """Steps; an episode that is not longer is played again with another seed."""
    longest_hold: Annotated[list[Count], Field(min_length=2, max_length=2)] = Field([10, 10])
    """Steps; policy held: an episode's actions are held for 1 to L steps, and its own L is
    log-uniform between these two."""
    as_is: Share = 0.4
    """Policy agent: the share of episodes that the agent plays as it is. In the others a neighbour
    of its C plays."""
    spread: Annotated[float, Field(ge=0)] = 0.05
    """Policy agent: standard deviation of what is added to a neighbour's parameters."""
    random_share: Share = 0.1
    """Policy agent: the share of a neighbour's spells in which held random actions play instead. A
    spell lasts 1 to longest_hold's first number of steps."""

    @field_validator("longest_hold")
    @classmethod
    def _ordered(cls, bounds: list[int]) -> list[int]:
        if bounds[0] > bounds[1]:
            raise ValueError("its first number is over its second")
        return bounds
