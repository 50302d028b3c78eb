"""Trainings that kill their own process at a chosen moment, also of several that train together."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytorch_lightning as pl
import torch

from tests.configs import SMALL_M, smoke
from tests.counting import COUNTING
from world_models.data.store import EpisodeStore
from world_models.rnn.training import RNNTraining, SequenceData
from world_models.runtime.errors import WorldModelsError
from world_models.training import trainer
from world_models.training.ranks import ONE_DEVICE, Devices
from world_models.training.trainer import fit
from world_models.vae.training import FrameData, VAETraining

BATCHES, VALIDATE_EVERY = 20, 8  # kept after 8 and 16, and at the end
VAE_CONFIG = smoke("vae", latent_size=2, batches=BATCHES, batch_size=4, learning_rate=1e-3)
RNN_CONFIG = smoke(
    "rnn",
    **SMALL_M,
    batches=BATCHES,
    lanes=4,
    steps=5,
    learning_rate_decay=0.9,
    learning_rate_floor=1e-4,
)


class Mortal:
    """Dies at a moment of the training with so many batches behind it; None lives for ever."""

    death: tuple[str, int] | None = None

    def _reach(self, moment):
        if self.death == (moment, self.global_step):
            die()

    def training_step(self, batch):
        self._reach("training")
        return super().training_step(batch)

    def validation_step(self, batch):
        self._reach("validating")
        return super().validation_step(batch)

    def on_save_checkpoint(self, checkpoint):
        if self.death == ("writing", self.global_step):
            torch.save = half_saved

    def on_validation_end(self):
        self._reach("validated")  # and kept: callbacks come first

    def on_train_end(self):
        self._reach("trained")


class MortalVAE(Mortal, VAETraining):
    """V."""


class MortalRNN(Mortal, RNNTraining):
    """M."""


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def half_saved(checkpoint, file):
    """Gets as far as a few bytes."""
    file.write(b"PK half a checkpoint")
    file.flush()
    die()


def train(
    kind: str,
    store: EpisodeStore,
    state: Path,
    death=None,
    log=lambda *_: None,
    devices=ONE_DEVICE,
):
    """V or M, trained in `state`, and the metrics."""
    pl.seed_everything(1, verbose=False)
    if kind == "vae":
        module, data, clip = MortalVAE(VAE_CONFIG), FrameData(store, VAE_CONFIG, 1), None
    else:
        module, clip = MortalRNN(RNN_CONFIG, COUNTING, latent_size=1), RNN_CONFIG.gradient_clip
        data = SequenceData(store, RNN_CONFIG, 1)
    module.death = death
    metrics = fit(
        module,
        data,
        label="test",
        batches=BATCHES,
        validate_every=VALIDATE_EVERY,
        precision="32-true",
        log=log,
        state=state,
        gradient_clip=clip,
        devices=devices,
    )
    return module, metrics


def digest(module, metrics) -> str:
    """Tells weights and metrics apart by a single bit."""
    weights = [(name, weight.numpy().tobytes()) for name, weight in module.state_dict().items()]
    return hashlib.sha256(repr((weights, json.dumps(metrics))).encode()).hexdigest()


def run(kind: str, store: Path, state: Path, death=None) -> None:
    """A process's work: trains, and writes what came of it to `state`.digest."""
    torch.set_num_threads(1)
    result = digest(*train(kind, EpisodeStore(store), state, death))
    state.with_suffix(".digest").write_text(result)


def run_rank(
    kind: str, store: Path, state: Path, rank: int, ranks: int, port: int, death=None
) -> None:
    """The same of one of several; what each has logged, or an error, goes to `state`-RANK.json."""
    os.environ |= {"LOCAL_RANK": str(rank), "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    trainer.LOG_EVERY = 1
    logged = []
    try:
        module, metrics = train(
            kind,
            EpisodeStore(store),
            state,
            death,
            lambda *entry: logged.append(entry),
            Devices(ranks, rank=rank),
        )
        report = {"logged": logged, "metrics": metrics, "digest": digest(module, metrics)}
    except WorldModelsError as error:
        report = {"error": str(error)}
    state.with_name(f"{state.name}-{rank}.json").write_text(json.dumps(report))
