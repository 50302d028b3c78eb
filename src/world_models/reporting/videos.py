"""What an agent's world shows while it plays."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain

import numpy as np
import torch

from world_models.agent import Agent
from world_models.reporting.pictures import beside
from world_models.vae.model import to_images
from world_models.worlds.base import World
from world_models.worlds.dream import DreamWorld
from world_models.worlds.games import open_lanes
from world_models.worlds.real import RealWorld


def film(agent: Agent, seed: int, steps: int) -> Iterator[np.ndarray]:
    """Yields pictures (64, 196, 3): the game, what V makes of it, and the agent in its own dream.

    Both worlds begin at the same frame, the game's first with this seed, and go their own ways.
    """
    with closing(open_lanes(agent.task, 1, "gymnasium")) as lanes:
        real = agent.real_world(lanes)
        real.begin([seed])
        dream = dream_from(agent, real.frames)
        worlds = (watch(world, agent, seed, steps) for world in (real, dream))
        for shown in zip(*worlds, strict=True):
            yield beside(*chain(*shown))


@torch.inference_mode()
def dream_from(agent: Agent, frames: np.ndarray) -> DreamWorld:
    """Opens a dream of one lane that begins at one of these frames (N, 64, 64, 3)."""
    starts = agent.vae.encode(to_images(torch.from_numpy(frames).to(agent.vae.device)))
    return replace(agent, starts=torch.stack(starts, dim=1)).dream()


@torch.inference_mode()
def watch(world: World, agent: Agent, seed: int, steps: int) -> Iterator[list[np.ndarray]]:
    """Yields what a world of one lane shows, step by step, each picture (64, 64, 3) of bytes; the
    last one stays.

    Of the game that is its frame and what V makes of it, of a dream what V makes of M's latent.
    """
    world.begin([seed])
    for _ in range(steps):
        shown = list(world.render() or ())
        if isinstance(world, RealWorld):
            shown += world.reconstructions()
        yield shown
        world.advance(agent.controller.act(world.features()))
