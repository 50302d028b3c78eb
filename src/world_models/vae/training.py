"""V as a LightningModule, and its frames as a LightningDataModule."""

from collections.abc import Callable
from functools import partial

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader

from world_models.data.datasets import FrameBatches, Frames, split_episodes
from world_models.data.store import EpisodeStore
from world_models.training.checkpoint import batches_seen
from world_models.training.ranks import rank, ranks
from world_models.training.trainer import decaying_adam, log_training
from world_models.vae.config import VAEConfig
from world_models.vae.model import (
    VAE,
    VAESizes,
    kl_divergence,
    reconstruction_error,
    sample_latent,
    to_images,
)


def squared_error(logits: Tensor, images: Tensor) -> Tensor:
    """Returns the squared error of each image, (N,), to the sigmoid of logits."""
    return reconstruction_error(logits.sigmoid(), images)


ERRORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": squared_error,
    # Its gradient doesn't vanish where the sigmoid is near 0 or 1.
    "cross_entropy": partial(binary_cross_entropy_with_logits, reduction="none"),
}
"""By the name of `vae.error`: values whose sum is the error of a batch."""


class VAETraining(pl.LightningModule):
    """V's loss: the error summed over an image, plus the KL of all z, held above a free amount.

    The paper's code: squared error, max(KL, 0.5 z), Adam.
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.vae = VAE(VAESizes(config.latent_size))

    def training_step(self, batch: Frames) -> Tensor:
        """Returns the loss of a batch of frames; of several ranks each returns its part."""
        losses = self._losses(batch)
        log_training(self, losses)
        return losses["loss"]

    def validation_step(self, batch: Frames) -> None:
        """Logs the same on frames of episodes that V is not trained on."""
        losses = {f"validation/{name}": value for name, value in self._losses(batch).items()}
        self.log_dict(losses, batch_size=self.config.batch_size, sync_dist=True)

    def _losses(self, batch: Frames) -> dict[str, Tensor]:
        images = to_images(batch.frames)
        # All ranks draw the same, for all frames.
        noise = torch.randn(self.config.batch_size, self.config.latent_size, device=images.device)
        mu, logvar = self.vae.encode(images)
        logits = self.vae.decode_logits(sample_latent(mu, logvar, noise[batch.rows]))
        # The squared error is logged, whatever V learns by.
        named = {"squared", self.config.error}
        errors = {name: self._mean(ERRORS[name](logits, images)) for name in named}
        kl = kl_divergence(mu, logvar).sum(dim=1)
        free = self.config.free_nats * self.config.latent_size
        loss = errors[self.config.error] + self._mean(kl.clamp(min=free))
        return {"loss": loss, "reconstruction": errors["squared"], "kl": self._mean(kl)}

    def _mean(self, values: Tensor) -> Tensor:
        """A rank's part of a mean over the batch: the mean of all ranks' parts is that one."""
        return values.sum() / (self.config.batch_size / ranks())

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Returns Adam, as in the paper."""
        config = self.config
        return decaying_adam(self, config.learning_rate, config.learning_rate_decay, fused=True)


class FrameData(pl.LightningDataModule):
    """Frames of the store, split by episode."""

    def __init__(self, store: EpisodeStore, config: VAEConfig, seed: int) -> None:
        super().__init__()
        self.store, self.config, self.seed = store, config, seed
        self.train_episodes, self.validation_episodes = split_episodes(store)

    def train_dataloader(self) -> DataLoader[Frames]:
        """Returns batches of frames in random order, without end."""
        size, seen = self.config.batch_size, batches_seen(self)
        batches = FrameBatches(
            self.store, self.train_episodes, size, self.seed, seen, rank(), ranks()
        )
        return DataLoader(batches, batch_size=None)

    def val_dataloader(self) -> DataLoader[Frames]:
        """Returns batches of held-out frames, in order."""
        size = self.config.batch_size
        batches = FrameBatches(
            self.store, self.validation_episodes, size, None, rank=rank(), ranks=ranks()
        )
        return DataLoader(batches, batch_size=None)
