"""V as a LightningModule, and its frames as a LightningDataModule."""

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.utils.data import DataLoader

from world_models.data.datasets import FrameBatches, split_episodes
from world_models.data.store import EpisodeStore
from world_models.training.checkpoint import batches_seen
from world_models.training.trainer import decaying_adam, log_training
from world_models.vae.config import VAEConfig
from world_models.vae.model import (
    VAE,
    VAESizes,
    kl_divergence,
    reconstruction_error,
    to_images,
)


class VAETraining(pl.LightningModule):
    """V's loss: squared error summed over an image, plus KL held above a free amount a dimension.

    The paper's code: max(KL, 0.5 z), Adam.
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.vae = VAE(VAESizes(config.latent_size))

    def training_step(self, frames: Tensor) -> Tensor:
        """Returns the loss of a batch of frames (N, 64, 64, 3) of bytes."""
        losses = self._losses(frames)
        log_training(self, losses)
        return losses["loss"]

    def validation_step(self, frames: Tensor) -> None:
        """Logs the same on frames of episodes that V is not trained on."""
        losses = self._losses(frames)
        self.log_dict({f"validation/{k}": v for k, v in losses.items()}, batch_size=len(frames))

    def _losses(self, frames: Tensor) -> dict[str, Tensor]:
        images = to_images(frames)
        reconstructions, mu, logvar = self.vae(images)
        error = reconstruction_error(reconstructions, images).mean()
        kl = kl_divergence(mu, logvar)
        free = self.config.free_nats * self.config.latent_size
        loss = error + kl.clamp(min=free).mean()
        return {"loss": loss, "reconstruction": error, "kl": kl.mean()}

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

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Returns batches of frames in random order, without end."""
        size, seen = self.config.batch_size, batches_seen(self)
        batches = FrameBatches(self.store, self.train_episodes, size, self.seed, seen)
        return DataLoader(batches, batch_size=None)

    def val_dataloader(self) -> DataLoader[Tensor]:
        """Returns batches of held-out frames, in order."""
        size = self.config.batch_size
        batches = FrameBatches(self.store, self.validation_episodes, size, None)
        return DataLoader(batches, batch_size=None)
