"""Who plays the lanes of a shard."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from world_models.collecting.agents import Neighbourhood, RandomNetwork
from world_models.collecting.policies import Brownian, Held, Policy
from world_models.config import CollectConfig
from world_models.errors import ConfigError
from world_models.models.agent import Agent
from world_models.task import Task


class Players(Protocol):
    """How the actions of several episodes are chosen."""

    names: list[str]
    """What the policy of each lane is called."""

    def act(self, lanes: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Lanes (k,) and their frames (k, 64, 64, 3) to actions (k, a) in [-1, 1]."""


class Apart:
    """A policy for each lane, that knows of no other."""

    def __init__(self, name: str, policies: Sequence[Policy]) -> None:
        self.names, self.policies = [name] * len(policies), policies

    def act(self, lanes: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """As `Players` has it."""
        pairs = zip(lanes, frames, strict=True)
        return np.stack([self.policies[lane].act(frame) for lane, frame in pairs])


def players(
    task: Task, config: CollectConfig, seed: int, episodes: Sequence[int], agent: Agent | None
) -> Players:
    """Those of the episodes with these seeds, in the run with that seed.

    Raises ConfigError for the policy `agent` without one.
    """
    if config.policy == "agent":
        if agent is None:
            raise ConfigError("collect.policy: agent: a first round has none")
        randoms = [np.random.default_rng([seed, episode]) for episode in episodes]
        return Neighbourhood(task, config, randoms, agent)
    policies = [random_policy(task, config, seed, episode) for episode in episodes]
    return Apart(config.policy, policies)


def random_policy(task: Task, config: CollectConfig, seed: int, episode: int) -> Policy:
    """The one that plays the episode of this seed in the run with that seed.

    Raises ConfigError for the policy `agent`, which needs one.
    """
    random = np.random.default_rng([seed, episode])
    if config.policy == "brownian":
        return Brownian(task.action_size, random)
    if config.policy == "held":
        return Held(task.action_size, random, config.longest_hold)
    if config.policy == "random-network":
        return RandomNetwork(task, random)
    raise ConfigError(f"collect.policy: {config.policy}: not a random one")
