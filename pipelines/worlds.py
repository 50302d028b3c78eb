"""Opens the worlds that a stage plays in, from its files and parameters."""

from collections.abc import Callable

from pipelines.stage import Stage
from world_models.config import DreamConfig
from world_models.data.store import EpisodeStore
from world_models.models.mdnrnn import MDNRNN
from world_models.models.vae import VAE
from world_models.worlds.dream import DreamWorld, first_latents


def open_dreams(
    stage: Stage, latents: EpisodeStore, rnn: MDNRNN, cell: bool, vae: VAE | None = None
) -> Callable[[int], DreamWorld]:
    """Opens M's dreams at the task's temperature, each of a number of lanes.

    Where they begin is read once: opening hundreds of episodes takes many seconds.
    """
    config = stage.section(DreamConfig)
    starts = first_latents(latents, config.starts)

    def dream(lanes: int) -> DreamWorld:
        return DreamWorld(stage.task, rnn, starts, lanes, config.temperature, cell, vae)

    return dream
