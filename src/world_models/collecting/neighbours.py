"""Who plays beside an agent in its own data: neighbours of its C, now and then disturbed."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from world_models.collecting.config import CollectConfig
from world_models.collecting.policies import Held
from world_models.controller.policy import Controllers


class Disturbance:
    """Held random actions that now and then for a while take the place of others."""

    def __init__(self, held: Held, share: float, longest: int, random: np.random.Generator) -> None:
        """Draws spells of 1 to `longest` steps each; `share` of them are random."""
        self.held, self.share, self.longest = held, share, longest
        self.random, self.left, self.disturbs = random, 0, False

    def over(self, action: Tensor) -> Tensor:
        """Returns the action (a,), or the random one where the spell is its."""
        if self.left == 0:
            self.left = int(self.random.integers(1, self.longest + 1))
            self.disturbs = self.random.random() < self.share
        self.left -= 1
        drawn = self.held.next()
        return torch.from_numpy(drawn) if self.disturbs else action


class Neighbourhood:
    """A C for each episode: in some the agent's as it is, in others a neighbour, disturbed."""

    def __init__(
        self,
        controller: Controllers,
        config: CollectConfig,
        seed: int,
        seeds: Sequence[int],
        lanes: int,
    ) -> None:
        """Draws each C from random numbers of its own episode, in the run with that seed.

        The episodes, of these seeds, are played in the first of so many lanes.
        """
        self.disturbances: dict[int, Disturbance] = {}
        self.count = len(seeds)
        parameters = controller.parameters.repeat(lanes, 1)
        for lane, episode in enumerate(seeds):
            random = np.random.default_rng([seed, episode])
            if random.random() >= config.as_is:
                step = random.standard_normal(parameters.shape[1], np.float32)
                parameters[lane] += config.spread * torch.from_numpy(step)
                held = Held(controller.sizes.action_size, random, config.longest_hold)
                longest = config.longest_hold[0]
                disturbance = Disturbance(held, config.random_share, longest, random)
                self.disturbances[lane] = disturbance
        self.controllers = Controllers(controller.sizes, parameters)

    @property
    def names(self) -> list[str]:
        """What the policy of each episode is called."""
        lanes = range(self.count)
        return ["neighbour" if lane in self.disturbances else "agent" for lane in lanes]

    def act(self, features: Tensor) -> Tensor:
        """Takes a world's features (lanes, F) to actions (lanes, a) in [-1, 1]."""
        actions = self.controllers.act(features)
        for lane, disturbance in self.disturbances.items():
            actions[lane] = disturbance.over(actions[lane])
        return actions
