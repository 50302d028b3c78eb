"""Models on disk: one safetensors file each, with the sizes in its header. No pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from world_models.errors import CheckpointError
from world_models.files import made_whole
from world_models.models.controller import Controllers, ControllerSizes
from world_models.models.mdnrnn import MDNRNN, MDNRNNSizes
from world_models.models.vae import VAE, VAESizes
from world_models.rounds import remedy

LAYOUT = 2
"""What the tensors mean; 1 had M's mixture with its Gaussians after z's dimensions."""
Sizes = TypeVar("Sizes", VAESizes, MDNRNNSizes, ControllerSizes)


def save_vae(path: Path, vae: VAE) -> None:
    """Writes V."""
    _write(path, vae.state_dict(), vae.sizes)


def load_vae(path: Path) -> VAE:
    """Reads V; raises CheckpointError where the file is missing, damaged or not of V."""
    tensors, sizes = _read(path, VAESizes)
    return _fill(path, VAE(sizes), tensors)


def save_rnn(path: Path, rnn: MDNRNN) -> None:
    """Writes M."""
    _write(path, rnn.state_dict(), rnn.sizes)


def load_rnn(path: Path, latent_size: int, action_size: int) -> MDNRNN:
    """Reads M, which must be of these sizes; raises CheckpointError like V's."""
    tensors, sizes = _read(path, MDNRNNSizes)
    _check_size(path, "latents of", sizes.latent_size, latent_size)
    _check_size(path, "actions of", sizes.action_size, action_size)
    return _fill(path, MDNRNN(sizes), tensors)


def save_controllers(path: Path, controllers: Controllers) -> None:
    """Writes C, or a population of them."""
    _write(path, {"parameters": controllers.parameters}, controllers.sizes)


def load_controllers(path: Path, rnn: MDNRNN) -> Controllers:
    """Reads C, which must act on the features of this M, or on z alone.

    Raises CheckpointError like V's.
    """
    tensors, sizes = _read(path, ControllerSizes)
    if sizes.feature_size != rnn.sizes.latent_size:
        expected = feature_size(rnn.sizes, cell=sizes.cell)
        _check_size(path, "features of", sizes.feature_size, expected)
    _check_size(path, "actions of", sizes.action_size, rnn.sizes.action_size)
    if set(tensors) != {"parameters"} or tensors["parameters"].shape[1:] != (
        sizes.parameter_count,
    ):
        raise CheckpointError(f"{path}: does not fit the sizes in its own header; {_remedy(path)}")
    return Controllers(sizes, tensors["parameters"])


def read_controller_sizes(path: Path) -> ControllerSizes:
    """The sizes in the header of C's file; raises CheckpointError like V's."""
    return _read(path, ControllerSizes)[1]


def feature_size(sizes: MDNRNNSizes, cell: bool) -> int:
    """The length of C's input: [z, h], or [z, h, c] where C sees the cell state too."""
    return sizes.latent_size + sizes.hidden_size * (2 if cell else 1)


def _check_size(path: Path, what: str, size: int, expected: int) -> None:
    if size != expected:
        raise CheckpointError(f"{path}: made for {what} {size}, not {expected}; {_remedy(path)}")


def _remedy(path: Path) -> str:
    return remedy(path.stem, path.parent.name)


def _write(path: Path, tensors: Mapping[str, Tensor], sizes: Any) -> None:
    contents = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One entry: safetensors writes several in any order, and equal models make equal bytes. What a
    # model has none of is left out: models from before it was known keep their bytes too.
    known = {name: size for name, size in asdict(sizes).items() if size is not None}
    model = json.dumps({"layout": LAYOUT, "sizes": known})
    with made_whole(path) as aside:
        aside.write_bytes(save(contents, metadata={"model": model}))


def _read(path: Path, kind: type[Sizes]) -> tuple[dict[str, Tensor], Sizes]:
    try:
        with safe_open(path, framework="pt") as file:
            model = json.loads(file.metadata()["model"])
            sizes = kind(**model["sizes"])
            if model["layout"] != LAYOUT:
                raise CheckpointError(f"{path}: made by another version; {_remedy(path)}")
            return {name: file.get_tensor(name) for name in file.keys()}, sizes  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing; {_remedy(path)}") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); {_remedy(path)}") from error


Model = TypeVar("Model", VAE, MDNRNN)


def _fill(path: Path, model: Model, tensors: dict[str, Tensor]) -> Model:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: other sizes ({reason}); {_remedy(path)}") from error
    return model.eval().requires_grad_(False)
