"""Opens the worlds that a stage plays in, from its files and parameters."""

from dataclasses import dataclass

from torch import Tensor

from pipelines.stage import Stage
from world_models.config import DreamConfig, RNNConfig
from world_models.data.store import EpisodeStore
from world_models.models.mdnrnn import MDNRNN
from world_models.models.vae import VAE
from world_models.task import Task
from world_models.worlds.dream import DreamWorld, first_latents


@dataclass(frozen=True)
class Dreams:
    """Opens M's dreams, in whichever process."""

    task: Task
    rnn: MDNRNN
    starts: Tensor
    temperature: float
    cell: bool
    vae: VAE | None
    done_weight: float | None

    def __call__(self, lanes: int) -> DreamWorld:
        """One of so many lanes."""
        return DreamWorld(
            self.task,
            self.rnn,
            self.starts,
            lanes,
            self.temperature,
            self.cell,
            self.vae,
            done_weight=self.done_weight,
        )


def open_dreams(
    stage: Stage, latents: EpisodeStore, rnn: MDNRNN, cell: bool, vae: VAE | None = None
) -> Dreams:
    """What opens M's dreams, at the task's temperature.

    Where they begin is read once: opening hundreds of episodes takes many seconds.
    """
    config = stage.section(DreamConfig)
    weight = stage.section(RNNConfig).done_weight if config.ends == "drawn" else None
    starts = first_latents(latents, config.starts)
    return Dreams(stage.task, rnn, starts, config.temperature, cell, vae, weight)
