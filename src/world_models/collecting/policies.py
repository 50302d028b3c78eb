"""Random policies: how the actions of one episode are chosen."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Policy(Protocol):
    """How one episode's actions are chosen."""

    def act(self, frame: np.ndarray) -> np.ndarray:
        """A frame (64, 64, 3) to an action (a,) in [-1, 1]."""


class Brownian:
    """Actions that drift: a random walk clipped to [-1, 1] (white noise barely moves a car)."""

    STEP = 1 / math.sqrt(50)

    def __init__(self, size: int, random: np.random.Generator) -> None:
        self.random = random
        self.action = random.uniform(-1, 1, size)

    def act(self, frame: np.ndarray) -> np.ndarray:
        """The last action, a small normal step further."""
        action = self.action
        step = self.STEP * self.random.standard_normal(len(action))
        self.action = np.clip(action + step, -1, 1)
        return action


class Held:
    """Uniform actions, each held for 1 to L steps.

    The paper's L is 10. An episode draws its own L, uniform in its logarithm between two bounds:
    with a wide range M also sees what comes of walking to a wall and of standing still, which is
    where evolution takes C first.
    """

    def __init__(self, size: int, random: np.random.Generator, longest: Sequence[int]) -> None:
        self.size, self.random, self.left = size, random, 0
        low, high = np.log(longest[0]), np.log(longest[1])
        self.longest = round(math.exp(random.uniform(low, high)))

    def act(self, frame: np.ndarray) -> np.ndarray:
        """The action held, or a new one when its time is up."""
        if self.left == 0:
            self.left = int(self.random.integers(1, self.longest + 1))
            self.action = self.random.uniform(-1, 1, self.size)
        self.left -= 1
        return self.action
