"""V on disk."""

from pathlib import Path

from world_models.runtime.checkpoint import fill, read_checkpoint, write_checkpoint
from world_models.vae.model import VAE, VAESizes


def save_vae(path: str | Path, vae: VAE, devices: int = 1) -> None:
    """Writes V, which was trained on so many devices."""
    write_checkpoint(path, vae.state_dict(), vae.sizes, devices)


def load_vae(path: str | Path) -> VAE:
    """Reads V; raises CheckpointError where the file is missing, damaged or not of V."""
    tensors, sizes = read_checkpoint(path, VAESizes)
    return fill(path, VAE(sizes), tensors)
