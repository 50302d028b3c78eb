"""Rows of what is learned: making data, training V and M, encoding."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytorch_lightning as pl
import torch
from torch import Tensor

from benchmarks import fixtures, textbook
from benchmarks.loops import Loops
from benchmarks.measure import Effort, Measured, Row, Work, compare, quickest
from benchmarks.networks import best_precision, networks, repeated, side_by_side
from benchmarks.worlds import LANES, replayed_envpool
from world_models.collecting.config import CollectConfig
from world_models.collecting.shards import Origin, collect, shard_jobs
from world_models.data.datasets import Sequences
from world_models.data.store import EpisodeStore
from world_models.rnn.config import RNNConfig
from world_models.rnn.mixture import negative_log_likelihood
from world_models.rnn.training import RNNTraining, SequenceData
from world_models.runtime.config import Precision
from world_models.runtime.devices import best_device, cores
from world_models.runtime.precision import has_bfloat16
from world_models.runtime.processes import WorkerPool
from world_models.tasks import get_task
from world_models.training.trainer import fit
from world_models.vae.config import EncodeConfig, VAEConfig
from world_models.vae.encoding import encode
from world_models.vae.model import kl_divergence, reconstruction_error, to_images
from world_models.vae.training import FrameData, VAETraining

Episodes = Callable[[str], EpisodeStore]
"""A task's data set."""
TASK = "carracing"
LONG_COLLECTING = 200
"""Episodes of TakeCover that are collected at a time: some take ten times as long as others."""
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


def vae_training(task: str, episodes: Episodes, effort: Effort) -> Measured:
    """Training V."""
    config = fixtures.params(task).section(VAEConfig)
    data = FrameData(episodes(task), config, 0)
    frames = next(iter(data.train_dataloader())).frames.to(best_device())
    vae = VAETraining(config).vae.to(best_device())

    def loss() -> Tensor:
        images = to_images(frames)
        reconstructions, mu, logvar = vae(images)
        kl = kl_divergence(mu, logvar).sum(1)
        return (reconstruction_error(reconstructions, images) + kl).mean()

    def path(precision: Precision) -> Training:
        return Training(lambda: VAETraining(config), data, precision)

    return against_bare(path, vae, loss, effort)


def rnn_training(name: str, latents: Episodes, effort: Effort) -> Measured:
    """Training M."""
    config, task = fixtures.params(name).section(RNNConfig), get_task(name)
    size = fixtures.fresh_vae(name).sizes.latent_size
    data = SequenceData(latents(name), config, 0)
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

    task: str
    config: CollectConfig

    def rate(self, seconds: float) -> float:
        """Steps a second from each process's first shard on, however long that takes."""
        started, steps, now = 0.0, 0, 0.0
        with TemporaryDirectory(prefix="world-models-bench-") as folder:
            jobs = shard_jobs(Path(folder), self.task, self.config, 0, Origin(self.task))
            for number, lengths in enumerate(collect(jobs, cores(fixtures.CPU)), 1):
                now = time.perf_counter()
                if number <= cores(fixtures.CPU):
                    started = now
                else:
                    steps += sum(lengths)
        return steps / (now - started)


def collecting(task: str, episodes: int) -> Collecting:
    """Collecting so many episodes into the store, once its processes are going."""
    config = fixtures.params(task).section(CollectConfig)
    return Collecting(task, config.model_copy(update={"episodes": episodes}))


def collecting_car_racing(effort: Effort) -> Measured:
    """CarRacing's drives, against the same ones in EnvPool."""
    path = collecting(TASK, 2 * fixtures.EPISODES)
    return compare(path, [replayed_envpool(fixtures.episodes(TASK))], effort)


def collecting_take_cover(effort: Effort) -> Measured:
    """TakeCover's episodes, as long as they are, against ViZDoom in as many processes."""
    with closing(Loops(textbook.doom)) as loops:
        return compare(collecting("takecover", LONG_COLLECTING), [Work(loops.run)], effort)


def encoding(effort: Effort) -> Measured:
    """Encoding the store."""
    batch_size = fixtures.params(TASK).section(EncodeConfig).batch_size
    precision = best_precision(networks, TASK, LANES)
    store, vae = fixtures.episodes(TASK), fixtures.vae(TASK, precision)
    frames = store.read_frames(store.episodes()[0], "frames", 0, batch_size)
    in_place = torch.from_numpy(frames).to(vae.device)

    def from_store() -> int:
        with TemporaryDirectory(prefix="world-models-bench-") as folder:
            return sum(encode(store, vae, Path(folder), batch_size, pool))

    @torch.inference_mode()
    def in_memory() -> None:
        vae.encode(to_images(in_place))

    alone = side_by_side([repeated(in_memory, len(in_place))] * cores(vae.device))
    with closing(WorkerPool(cores(vae.device))) as pool:
        return compare(Work(from_store), [alone], effort, precision)


BARE = "forward, backward, step alone"
ROWS = [
    Row("VAE training", BARE, "batches", 0.9, partial(vae_training, TASK, fixtures.episodes)),
    Row("M training", BARE, "batches", 0.9, partial(rnn_training, TASK, fixtures.latents)),
    Row(
        "TakeCover, VAE training, 10,000 episodes",
        BARE,
        "batches",
        0.9,
        partial(vae_training, "takecover", fixtures.many_episodes),
    ),
    Row(
        "TakeCover, M training, 10,000 episodes",
        BARE,
        "batches",
        0.9,
        partial(rnn_training, "takecover", fixtures.many_latents),
    ),
    Row("collecting into the store", "bare EnvPool", "steps", 0.7, collecting_car_racing),
    Row("TakeCover, collecting", "bare ViZDoom", "steps", 0.8, collecting_take_cover),
    Row("encoding from the store", "the encoder alone", "frames", 0.85, encoding),
]
