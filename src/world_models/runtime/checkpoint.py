"""Networks on disk, one safetensors file each, whose header says what it is. No pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from world_models.runtime.errors import CheckpointError, one_line
from world_models.runtime.files import atomic_write

LAYOUT = 4
"""What the file holds; 3 did not say how the dreams ended that C was evolved in."""

Sizes = TypeVar("Sizes")
Network = TypeVar("Network", bound=nn.Module)


def write_checkpoint(
    path: str | Path, tensors: Mapping[str, Tensor], sizes: Any, devices: int = 1
) -> None:
    """Writes tensors, with a dataclass of sizes in the header; equal contents make equal bytes.

    The header says on how many devices they were trained, where it was more than one.
    """
    contents = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One entry: safetensors writes several in any order. What a model has none of is left out.
    known = {name: size for name, size in asdict(sizes).items() if size is not None}
    model = {"layout": LAYOUT, "sizes": known} | ({"devices": devices} if devices > 1 else {})
    with atomic_write(path) as aside:
        aside.write_bytes(save(contents, metadata={"model": json.dumps(model)}))


def read_checkpoint(path: str | Path, kind: type[Sizes]) -> tuple[dict[str, Tensor], Sizes]:
    """Reads tensors and sizes; raises CheckpointError where the file is missing or damaged."""
    tensors, model = _read(path)
    try:
        return tensors, kind(**model["sizes"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(path, f"damaged ({error})") from error


def _read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A file's tensors, and what its header says of them."""
    try:
        with safe_open(path, framework="pt") as file:
            model: dict[str, Any] = json.loads(file.metadata()["model"])
            if model["layout"] != LAYOUT:
                raise CheckpointError(path, "made by another version")
            return {name: file.get_tensor(name) for name in file.keys()}, model  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(path, "missing") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(path, f"damaged ({error})") from error


def halve(path: str | Path, to: str | Path) -> None:
    """Copies a checkpoint with its numbers in half precision.

    Raises CheckpointError where it is missing or damaged.
    """
    tensors, model = _read(path)
    halves = {name: tensor.half() for name, tensor in tensors.items()}
    with atomic_write(to) as aside:
        aside.write_bytes(save(halves, metadata={"model": json.dumps(model)}))


def read_sizes(path: str | Path) -> dict[str, Any]:
    """Reads the sizes in a checkpoint's header; raises CheckpointError as `halve` does."""
    sizes: dict[str, Any] = _read(path)[1]["sizes"]
    return sizes


def read_parameter_count(path: str | Path) -> int:
    """Returns how many numbers a checkpoint holds; raises CheckpointError as `halve` does."""
    return sum(tensor.numel() for tensor in _read(path)[0].values())


def fill(path: str | Path, network: Network, tensors: dict[str, Tensor]) -> Network:
    """Puts a file's tensors into a network, to infer; raises CheckpointError if they don't fit."""
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = one_line(error)
        raise CheckpointError(path, f"other sizes ({reason})") from error
    return network.eval().requires_grad_(False)


def check_size(path: str | Path, what: str, size: int, expected: int) -> None:
    """Raises CheckpointError, naming what is of another size, unless the two are equal."""
    if size != expected:
        raise CheckpointError(path, f"made for {what} {size}, not {expected}")
