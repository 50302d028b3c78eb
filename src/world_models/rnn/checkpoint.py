"""M on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.runtime.checkpoint import check_size, fill, read_checkpoint, write_checkpoint


@dataclass(frozen=True)
class SeveralSizes:
    """What a file of several M's is bound to; all are of one kind."""

    count: int
    each: MDNRNNSizes | None = None
    """None where there is no M at all."""

    def __post_init__(self) -> None:
        if isinstance(self.each, dict):  # as a file's header has it
            object.__setattr__(self, "each", MDNRNNSizes(**self.each))


def save_rnn(path: str | Path, rnn: MDNRNN, devices: int = 1) -> None:
    """Writes M, which was trained on so many devices."""
    write_checkpoint(path, rnn.state_dict(), rnn.sizes, devices)


def load_rnn(path: str | Path, latent_size: int, action_size: int) -> MDNRNN:
    """Reads M, which must be of these sizes.

    Raises CheckpointError where the file is missing, damaged, not of M or of other sizes.
    """
    tensors, sizes = read_checkpoint(path, MDNRNNSizes)
    _check(path, sizes, latent_size, action_size)
    return fill(path, MDNRNN(sizes), tensors)


def save_rnns(path: str | Path, rnns: Sequence[MDNRNN], devices: int = 1) -> None:
    """Writes several M's of equal sizes as one file; there may be none.

    They were trained on so many devices, one after the other.
    """
    named = {
        f"{number}.{name}": tensor
        for number, rnn in enumerate(rnns)
        for name, tensor in rnn.state_dict().items()
    }
    sizes = SeveralSizes(len(rnns), rnns[0].sizes if rnns else None)
    write_checkpoint(path, named, sizes, devices)


def load_rnns(path: str | Path, latent_size: int, action_size: int) -> list[MDNRNN]:
    """Reads several M's, which must be of these sizes.

    Raises CheckpointError as `load_rnn` does.
    """
    tensors, found = read_checkpoint(path, SeveralSizes)
    if found.each is None:
        return []
    _check(path, found.each, latent_size, action_size)
    parts = [
        {
            name.removeprefix(f"{number}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"{number}.")
        }
        for number in range(found.count)
    ]
    return [fill(path, MDNRNN(found.each), part) for part in parts]


def _check(path: str | Path, sizes: MDNRNNSizes, latent_size: int, action_size: int) -> None:
    check_size(path, "latents of", sizes.latent_size, latent_size)
    check_size(path, "actions of", sizes.action_size, action_size)
