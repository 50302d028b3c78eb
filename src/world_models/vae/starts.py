"""Where dreams begin: the latents of first frames."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from world_models.data.store import EpisodeStore
from world_models.runtime.checkpoint import check_size, read_checkpoint, write_checkpoint
from world_models.runtime.errors import CheckpointError


@dataclass(frozen=True)
class StartsSizes:
    """What a file of first latents is bound to."""

    latent_size: int


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


def save_starts(path: Path, starts: Tensor) -> None:
    """Writes first latents (S, 2, z)."""
    write_checkpoint(path, {"starts": starts}, StartsSizes(starts.shape[-1]))


def load_starts(path: Path, latent_size: int) -> Tensor:
    """Reads first latents (S, 2, z), which must be of this size.

    Raises CheckpointError where the file is missing, damaged, of something else or of another size.
    """
    tensors, sizes = read_checkpoint(path, StartsSizes)
    check_size(path, "latents of", sizes.latent_size, latent_size)
    shapes = {name: tensor.shape[1:] for name, tensor in tensors.items()}
    if shapes != {"starts": (2, latent_size)} or not len(tensors["starts"]):
        raise CheckpointError(path, "does not fit the sizes in its own header")
    return tensors["starts"].float()
