"""Rows of what is learned: making data, training V and M, encoding."""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytorch_lightning as pl
import torch
from torch import Tensor

from benchmarks import fixtures
from benchmarks.measure import Effort, Measured, Row, Work, compare, quickest
from benchmarks.networks import best_precision, networks, repeated, side_by_side
from benchmarks.worlds import LANES, replayed_envpool
from world_models.collecting.config import CollectConfig
from world_models.collecting.shards import Origin, collect, shard_jobs
from world_models.data.datasets import Sequences
from world_models.rnn.config import RNNConfig
from world_models.rnn.mixture import negative_log_likelihood
from world_models.rnn.training import RNNTraining, SequenceData
from world_models.runtime.config import Precision
from world_models.runtime.devices import best_device, cores
from world_models.runtime.precision import has_bfloat16
from world_models.tasks import get_task
from world_models.training.trainer import fit
from world_models.vae.config import EncodeConfig, VAEConfig
from world_models.vae.encoding import encode
from world_models.vae.model import kl_divergence, reconstruction_error, to_images
from world_models.vae.training import FrameData, VAETraining

TASK = "carracing"
BATCHES = 301
"""Of a measured training: V reads frames for 250 batches at a time. The last, with its checkpoint,
is not measured."""


@dataclass(frozen=True)
class Training:
    """A training as its stage runs it: Lightning, the store, metrics."""

    module: Callable[[], pl.LightningModule]
    data: pl.LightningDataModule
    precision: Precision
    clip: float | None = None

    def rate(self, seconds: float) -> float:
        """Batches a second once it is going, however long they take."""
        stamps: dict[int, float] = {}

        def log(metrics: Mapping[str, float], batch: int) -> None:
            if "train/loss" in metrics:
                stamps[batch] = time.perf_counter()

        with TemporaryDirectory(prefix="world-models-bench-") as state:
            fit(
                self.module(),
                self.data,
                label="bench",
                batches=BATCHES,
                validate_every=BATCHES,
                precision=self.precision,
                log=log,
                state=Path(state),
                gradient_clip=self.clip,
            )
        first, last = min(stamps), max(stamps)
        return (last - first) / (stamps[last] - stamps[first])


def against_bare(
    path: Callable[[Precision], Training],
    module: torch.nn.Module,
    loss: Callable[[], Tensor],
    effort: Effort,
) -> Measured:
    """A training against its bare forward, backward and step, both in the better precision."""
    choices = {precision: bare(module, loss, precision) for precision in precisions()}
    best = quickest(choices, effort.seconds)
    return compare(path(best), [choices[best]], effort, best)


def bare(module: torch.nn.Module, loss: Callable[[], Tensor], precision: Precision) -> Work:
    """Forward, backward and step on data in memory."""
    bfloat16 = precision == "bf16-mixed"
    optimizer = torch.optim.Adam((p for p in module.parameters() if p.requires_grad), fused=True)

    def batch() -> int:
        with torch.autocast(best_device().type, torch.bfloat16) if bfloat16 else nullcontext():
            value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return 1

    return Work(batch)


def precisions() -> list[Precision]:
    """Float32 and, where this machine has it, bfloat16."""
    return ["32-true", "bf16-mixed"] if has_bfloat16() else ["32-true"]


def vae_training(effort: Effort) -> Measured:
    """Training V."""
    config = fixtures.params(TASK).section(VAEConfig)
    data = FrameData(fixtures.episodes(TASK), config, 0)
    frames = next(iter(data.train_dataloader())).to(best_device())
    vae = VAETraining(config).vae.to(best_device())

    def loss() -> Tensor:
        images = to_images(frames)
        reconstructions, mu, logvar = vae(images)
        return (reconstruction_error(reconstructions, images) + kl_divergence(mu, logvar)).mean()

    def path(precision: Precision) -> Training:
        return Training(lambda: VAETraining(config), data, precision)

    return against_bare(path, vae, loss, effort)


def rnn_training(effort: Effort) -> Measured:
    """Training M."""
    config, task = fixtures.params(TASK).section(RNNConfig), get_task(TASK)
    size = fixtures.fresh_vae(TASK).sizes.latent_size
    data = SequenceData(fixtures.latents(TASK), config, 0)
    batch = Sequences(*(part.to(best_device()) for part in next(iter(data.train_dataloader()))))
    rnn = RNNTraining(config, task, size).rnn.to(best_device())
    never, state = torch.zeros_like(batch.restart), rnn.initial_state(config.lanes)

    def loss() -> Tensor:
        hidden, _ = rnn.advance(batch.mu, task.to_model(batch.action), never, state)
        return negative_log_likelihood(rnn.predict(hidden).mixture, batch.next_mu).mean()

    def path(precision: Precision) -> Training:
        return Training(
            lambda: RNNTraining(config, task, size), data, precision, config.gradient_clip
        )

    return against_bare(path, rnn, loss, effort)


@dataclass(frozen=True)
class Collecting:
    """The stage's own collecting, in its processes, into the store."""

    config: CollectConfig

    def rate(self, seconds: float) -> float:
        """Steps a second from each process's first shard on, however long that takes."""
        started, steps, now = 0.0, 0, 0.0
        with TemporaryDirectory(prefix="world-models-bench-") as folder:
            jobs = shard_jobs(Path(folder), TASK, self.config, 0, Origin(TASK))
            for number, lengths in enumerate(collect(jobs, cores(fixtures.CPU)), 1):
                now = time.perf_counter()
                if number <= cores(fixtures.CPU):
                    started = now
                else:
                    steps += sum(lengths)
        return steps / (now - started)


def collecting(effort: Effort) -> Measured:
    """Collecting into the store, once its processes are going."""
    config = fixtures.params(TASK).section(CollectConfig)
    config = config.model_copy(update={"episodes": 2 * fixtures.EPISODES})
    return compare(Collecting(config), [replayed_envpool(fixtures.episodes(TASK))], effort)


def encoding(effort: Effort) -> Measured:
    """Encoding the store."""
    batch_size = fixtures.params(TASK).section(EncodeConfig).batch_size
    precision = best_precision(networks, TASK, LANES)
    store, vae = fixtures.episodes(TASK), fixtures.vae(TASK, precision)
    frames = store.read_frames(store.episodes()[0], "frames", 0, batch_size)
    in_place = torch.from_numpy(frames).to(vae.device)

    def from_store() -> int:
        with TemporaryDirectory(prefix="world-models-bench-") as folder:
            return sum(encode(store, vae, Path(folder), batch_size))

    @torch.inference_mode()
    def in_memory() -> None:
        vae.encode(to_images(in_place))

    alone = side_by_side([repeated(in_memory, len(in_place))] * cores(vae.device))
    return compare(Work(from_store), [alone], effort, precision)


BARE = "forward, backward, step alone"
ROWS = [
    Row("VAE training", BARE, "batches", 0.9, vae_training),
    Row("M training", BARE, "batches", 0.9, rnn_training),
    Row("collecting into the store", "bare EnvPool", "steps", 0.7, collecting),
    Row("encoding from the store", "the encoder alone", "frames", 0.85, encoding),
]
