"""Opens the worlds that a stage plays in, from its files and parameters."""

from typing import Protocol

from pipelines.stage import Stage
from world_models.config import DreamConfig, RNNConfig
from world_models.data.store import EpisodeStore
from world_models.models.mdnrnn import MDNRNN
from world_models.models.vae import VAE
from world_models.worlds.dream import DreamWorld, first_latents


class Dreams(Protocol):
    """Opens M's dreams."""

    def __call__(self, lanes: int, temperature: float | None = None) -> DreamWorld:
        """One of so many lanes, at the task's temperature if none is given."""


def open_dreams(
    stage: Stage, latents: EpisodeStore, rnn: MDNRNN, cell: bool, vae: VAE | None = None
) -> Dreams:
    """What opens M's dreams.

    Where they begin is read once: opening hundreds of episodes takes many seconds.
    """
    config = stage.section(DreamConfig)
    weight = stage.section(RNNConfig).done_weight if config.ends == "drawn" else None
    starts = first_latents(latents, config.starts)

    def dream(lanes: int, temperature: float | None = None) -> DreamWorld:
        tau = config.temperature if temperature is None else temperature
        return DreamWorld(stage.task, rnn, starts, lanes, tau, cell, vae, done_weight=weight)

    return dream
