"""M on disk."""

from pathlib import Path

from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.runtime.checkpoint import check_size, fill, read_checkpoint, write_checkpoint


def save_rnn(path: Path, rnn: MDNRNN) -> None:
    """Writes M."""
    write_checkpoint(path, rnn.state_dict(), rnn.sizes)


def load_rnn(path: Path, latent_size: int, action_size: int) -> MDNRNN:
    """Reads M, which must be of these sizes.

    Raises CheckpointError where the file is missing, damaged, not of M or of other sizes.
    """
    tensors, sizes = read_checkpoint(path, MDNRNNSizes)
    check_size(path, "latents of", sizes.latent_size, latent_size)
    check_size(path, "actions of", sizes.action_size, action_size)
    return fill(path, MDNRNN(sizes), tensors)
