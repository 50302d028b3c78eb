"""M as a LightningModule, and its sequences as a LightningDataModule."""

from itertools import islice
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss
from torch.utils.data import DataLoader, IterableDataset

from world_models.data.datasets import SequenceBatches, Sequences, split_episodes
from world_models.data.store import EpisodeAt, EpisodeStore
from world_models.rnn.config import RNNConfig
from world_models.rnn.mixture import negative_log_likelihood
from world_models.rnn.model import MDNRNN, MDNRNNSizes, Prediction, State
from world_models.tasks.base import Task
from world_models.training.checkpoint import batches_seen
from world_models.training.ranks import mean, of_all, own, rank, ranks, total
from world_models.training.trainer import decaying_adam, log_training
from world_models.vae.model import sample_latent

VALIDATION_BATCHES = 20


class RNNTraining(pl.LightningModule):
    """M's loss: NLL of the next latent, plus those of the reward and done heads that it has.

    Latents are drawn anew from V's posterior for each batch, and M's state is carried from each
    batch to the next, through pieces of the same episodes (the paper's code for TakeCover). Being
    buffers, it is in Lightning's checkpoints too, of all lanes, also where several ranks have a
    share of them each.
    """

    hidden: Tensor
    cell: Tensor

    def __init__(self, config: RNNConfig, task: Task, latent_size: int) -> None:
        super().__init__()
        self.config, self.task = config, task
        self.rnn = MDNRNN(
            MDNRNNSizes(
                latent_size,
                task.action_size,
                config.hidden_size,
                config.mixtures,
                config.restart_input,
                config.reward_head,
                config.done_head,
                config.done_weight,
            )
        )
        hidden, cell = self.rnn.initial_state(config.lanes)
        self.register_buffer("hidden", hidden)
        self.register_buffer("cell", cell)

    def training_step(self, batch: Sequences) -> Tensor:
        """Returns the loss of a batch of sequences."""
        losses, _, state = self._losses(batch, State(own(self.hidden), own(self.cell)))
        self.hidden, self.cell = (of_all(part) for part in state)
        loss = torch.stack(list(losses.values())).sum()
        log_training(self, losses | {"loss": loss})
        return loss

    def on_validation_start(self) -> None:
        """Zeroes M's state: validation episodes begin anew each time."""
        self._validating = self.rnn.initial_state(self.config.lanes // ranks())
        self._flags = torch.zeros(3)

    def validation_step(self, batch: Sequences) -> None:
        """Logs the losses, and how well the done head tells the last step of an episode."""
        losses, prediction, self._validating = self._losses(batch, self._validating)
        lanes = batch.reward.shape[1]
        named = {f"validation/{name}": value for name, value in losses.items()}
        self.log_dict(named, batch_size=lanes, sync_dist=True)
        if prediction.reward is not None:
            error = (prediction.reward - batch.reward).abs().mean()
            self.log("validation/reward_error", error, batch_size=lanes, sync_dist=True)
        if prediction.done_logit is not None:
            said = prediction.done_logit > 0
            counts = [(said & batch.done).sum(), said.sum(), batch.done.sum()]
            self._flags += total(torch.stack(counts)).cpu()

    def on_validation_epoch_end(self) -> None:
        """Logs precision and recall of the done head over all validation steps.

        They are 0 where there is no case."""
        if self.config.done_head:
            hits, said, true = self._flags.tolist()
            self.log("validation/done_precision", hits / max(said, 1), sync_dist=True)
            self.log("validation/done_recall", hits / max(true, 1), sync_dist=True)

    def _losses(
        self, batch: Sequences, state: State
    ) -> tuple[dict[str, Tensor], Prediction, State]:
        latent = sample_latent(batch.mu, batch.logvar, self._noise(batch))
        following = sample_latent(batch.next_mu, batch.next_logvar, self._noise(batch))
        action = self.task.to_model(batch.action)
        hidden, state = self.rnn.advance(latent, action, batch.restart, state)
        prediction = self.rnn.predict(hidden)
        # What follows an episode's end was never seen: it is no target.
        goes_on = (~batch.done).unsqueeze(-1).float()
        nll = (negative_log_likelihood(prediction.mixture, following) * goes_on).mean()
        nll = nll / mean(goes_on.mean()).clamp(min=1e-6)
        losses = {"nll": nll}
        if prediction.reward is not None:
            losses["reward"] = mse_loss(prediction.reward, batch.reward)
        if prediction.done_logit is not None:
            losses["done"] = binary_cross_entropy_with_logits(
                prediction.done_logit,
                batch.done.float(),
                pos_weight=torch.tensor(self.config.done_weight),
            )
        return losses, prediction, State(state.hidden.detach(), state.cell.detach())

    def _noise(self, batch: Sequences) -> Tensor:
        """Standard normal, as the latents; all ranks draw the same, for all lanes."""
        steps, _, size = batch.mu.shape
        noise = torch.randn(steps, self.config.lanes, size, device=batch.mu.device)
        return noise[:, rank() :: ranks()]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Returns Adam, whose learning rate decays each batch down to a floor."""
        config = self.config
        return decaying_adam(
            self.rnn, config.learning_rate, config.learning_rate_decay, config.learning_rate_floor
        )


class SequenceData(pl.LightningDataModule):
    """Sequences of the store's latents, split by episode."""

    def __init__(self, store: EpisodeStore, config: RNNConfig, seed: int) -> None:
        super().__init__()
        self.store, self.config, self.seed = store, config, seed
        self.train_episodes, self.validation_episodes = split_episodes(store)

    def train_dataloader(self) -> DataLoader[Sequences]:
        """Returns endless pieces of shuffled episodes."""
        config = self.config
        newest = round(config.newest_share * config.lanes), config.newest_episodes
        batches = self._batches(self.train_episodes, self.seed, batches_seen(self), newest)
        return DataLoader(batches, batch_size=None)

    def val_dataloader(self) -> DataLoader[Sequences]:
        """Returns a fixed number of pieces of held-out episodes, the same each time."""
        batches = self._batches(self.validation_episodes, self.seed + 1)
        return DataLoader(_First(batches, VALIDATION_BATCHES), batch_size=None)

    def _batches(
        self,
        episodes: list[EpisodeAt],
        seed: int,
        seen: int = 0,
        newest: tuple[int, int] = (0, 1),
    ) -> SequenceBatches:
        config = self.config
        shape = config.lanes, config.steps
        return SequenceBatches(self.store, episodes, *shape, seed, seen, newest, rank(), ranks())


class _First(IterableDataset[Sequences]):
    """The first batches of an endless stream."""

    def __init__(self, batches: SequenceBatches, count: int) -> None:
        self.batches, self.count = batches, count

    def __iter__(self) -> Any:
        return islice(self.batches, self.count)
