"""Controllers x seeds to returns, in any world."""

from collections.abc import Sequence

import numpy as np
import torch

from world_models.models.controller import Controllers
from world_models.worlds.rollout import Played, play
from world_models.worlds.world import World


def score(world: World, controllers: Controllers, seeds: Sequence[int]) -> Played:
    """Plays every controller on every seed, all at once, one episode a lane.

    The world has P * S lanes; controllers share the seeds, so that luck with a track or a dream
    does not decide between them. Returns and lengths are (P, S).
    """

    def act(features: np.ndarray) -> np.ndarray:
        return controllers.act(torch.from_numpy(features)).numpy()

    played = play(world, act, list(seeds) * len(controllers))
    return Played(*(figure.reshape(len(controllers), len(seeds)) for figure in played))
