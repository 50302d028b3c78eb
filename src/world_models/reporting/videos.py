"""What an agent's world shows while it plays."""

from collections.abc import Iterator

import numpy as np
import torch

from world_models.agent import Agent
from world_models.vae.model import to_frames
from world_models.worlds.base import World
from world_models.worlds.real import RealWorld


@torch.inference_mode()
def watch(world: World, agent: Agent, seed: int, steps: int) -> Iterator[list[np.ndarray]]:
    """Yields what a world of one lane shows, step by step; the last picture stays.

    Of the game that is its frame and what V makes of it, of a dream what V makes of M's latent.
    """
    world.begin([seed])
    for _ in range(steps):
        features, shown = world.features(), list(world.render() or ())
        if isinstance(world, RealWorld):
            latent = features[:, : agent.vae.sizes.latent_size]
            shown.append(to_frames(agent.vae.decode(latent))[0].numpy(force=True))
        yield shown
        world.advance(agent.controller.act(features))
