"""The data set through V's encoder: mu and log sigma^2 of every frame."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from world_models.data.store import Episode, EpisodeStore, read_shard, whole_shards, write_shard
from world_models.runtime.devices import one_thread
from world_models.runtime.parcels import FileJob
from world_models.runtime.processes import Pool
from world_models.vae.model import VAE, to_images


@dataclass(frozen=True)
class EncodeJob(FileJob):
    """One shard of frames, `source`, and the shard of latents that is made of it."""

    total: int
    """Shards of the data set when the shard's round is done."""


def encode(
    store: EpisodeStore, vae: VAE, folder: Path, batch_size: int, pool: Pool
) -> Iterator[int]:
    """Writes a shard of latents for each shard of frames; yields each one's number of frames.

    The pool's workers encode a shard each at a time. One that is in the folder already is kept.

    The latents keep the episodes' actions, rewards and ends, so that M needs no frames.
    """
    frames, jobs = Counter[Path](), dict[Path, EncodeJob]()
    for at in store.episodes():
        frames[at.shard] += at.length + 1
        jobs[at.shard] = EncodeJob(folder / at.shard.name, store.totals[at.round], source=at.shard)
    kept = {shard.name for shard in whole_shards(folder)}
    yield from (count for shard, count in frames.items() if shard.name in kept)
    left = [shard for shard in jobs if shard.name not in kept]
    if left:
        make_latents = pool.open(partial(ShardEncoder, vae, batch_size))
        for number, _ in pool.run_files(make_latents, [jobs[shard] for shard in left]):
            yield frames[left[number]]


class ShardEncoder:
    """Makes shards of latents, in whichever process it is opened."""

    def __init__(self, vae: VAE, batch_size: int) -> None:
        self._vae, self._batch_size = vae, batch_size

    def __call__(self, job: EncodeJob) -> None:
        """Makes a shard, whose bytes depend on its job alone."""
        assert job.source is not None
        with one_thread(self._vae.device):
            episodes = [
                encode_episode(episode, self._vae, self._batch_size)
                for episode in read_shard(job.source)
            ]
        write_shard(job.path, episodes, job.total)

    def close(self) -> None:
        """There is nothing to close."""


@torch.inference_mode()
def encode_episode(episode: Episode, vae: VAE, batch_size: int) -> Episode:
    """Returns an episode of latents for one of frames."""
    frames = torch.from_numpy(episode.frames["frames"]).to(vae.device)
    batches = [vae.encode(to_images(part)) for part in frames.split(batch_size)]
    mu, logvar = (torch.cat(parts).numpy(force=True) for parts in zip(*batches, strict=True))
    latents: dict[str, np.ndarray] = {"mu": mu, "logvar": logvar}
    return replace(episode, frames=latents)


def first_latents(latents: EpisodeStore, count: int) -> Tensor:
    """Reads mu and log sigma^2 of at most `count` first frames: (S, 2, z).

    They are of episodes that are spread over the data set, and so over its rounds.
    """
    episodes = latents.episodes()
    spread = np.linspace(0, len(episodes) - 1, min(count, len(episodes))).astype(int)
    first = [
        [latents.read_frames(episodes[i], name, 0, 1)[0] for name in ("mu", "logvar")]
        for i in spread
    ]
    return torch.from_numpy(np.asarray(first))
