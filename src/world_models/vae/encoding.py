"""The data set through V's encoder: mu and log sigma^2 of every frame."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from world_models.data.store import Episode, EpisodeStore, whole_shards, write_shard
from world_models.runtime.devices import sharing_cores
from world_models.vae.model import VAE, to_images


def encode(store: EpisodeStore, vae: VAE, folder: Path, batch_size: int) -> Iterator[int]:
    """Writes a shard of latents for each shard of frames; yields each one's number of frames.

    Shards are encoded side by side, a core each. One that is in the folder already is kept.

    The latents keep the episodes' actions, rewards and ends, so that M needs no frames.
    """
    kept = {shard.name for shard in whole_shards(folder)}

    def encode_shard(shard: Path) -> int:
        episodes = [at for at in store.episodes() if at.shard == shard]
        if shard.name not in kept:
            encoded = [encode_episode(store.read(at), vae, batch_size) for at in episodes]
            write_shard(folder / shard.name, encoded, store.totals[encoded[0].round])
        return sum(at.length + 1 for at in episodes)

    with sharing_cores(torch.get_num_threads()) as pool:
        yield from pool.map(encode_shard, store.shards)


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
