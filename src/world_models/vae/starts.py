"""Where dreams begin: the latents of first frames."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from world_models.runtime.checkpoint import check_size, read_checkpoint, write_checkpoint
from world_models.runtime.errors import CheckpointError


@dataclass(frozen=True)
class StartsSizes:
    """What a file of first latents is bound to."""

    latent_size: int


def save_starts(path: str | Path, starts: Tensor) -> None:
    """Writes first latents (S, 2, z)."""
    write_checkpoint(path, {"starts": starts}, StartsSizes(starts.shape[-1]))


def load_starts(path: str | Path, latent_size: int) -> Tensor:
    """Reads first latents (S, 2, z), which must be of this size.

    Raises CheckpointError where the file is missing, damaged, of something else or of another size.
    """
    tensors, sizes = read_checkpoint(path, StartsSizes)
    check_size(path, "latents of", sizes.latent_size, latent_size)
    shapes = {name: tensor.shape[1:] for name, tensor in tensors.items()}
    if shapes != {"starts": (2, latent_size)} or not len(tensors["starts"]):
        raise CheckpointError(path, "does not fit the sizes in its own header")
    return tensors["starts"].float()
