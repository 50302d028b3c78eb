"""float32 or bfloat16: what this machine can compute in, and what it is quicker in."""

from typing import Literal

import torch

from world_models.runtime.config import Precision, WeightsPrecision
from world_models.runtime.errors import ConfigError


def has_bfloat16() -> bool:
    """Returns whether torch has kernels for bfloat16 here: on a GPU, AVX-512 or AMX."""
    if torch.cuda.is_available():
        return True
    built_in = torch.backends.mkldnn.is_available()  # or torch doesn't know the question
    return built_in and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def prefers_bfloat16() -> bool:
    """Returns whether bfloat16 is quicker: where a GPU, or else the processor, has units for it."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    multiplies = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return has_bfloat16() and multiplies


def training_precision(precision: Precision) -> Literal["32-true", "bf16-mixed"]:
    """Lightning's precision for a training; `auto` becomes the quicker one here.

    Raises ConfigError for bfloat16 where there is none: on older processors.
    """
    if precision == "auto":
        return "bf16-mixed" if prefers_bfloat16() else "32-true"
    _require(precision)
    return precision


def weights_dtype(precision: WeightsPrecision) -> torch.dtype:
    """Returns the type of V's and M's weights when they only infer.

    `auto` and errors are as for `training_precision`.
    """
    if precision == "auto":
        return torch.bfloat16 if prefers_bfloat16() else torch.float32
    _require(precision)
    return torch.float32 if precision == "32-true" else torch.bfloat16


def _require(precision: Precision | WeightsPrecision) -> None:
    if precision != "32-true" and not has_bfloat16():
        raise ConfigError(f"precision: {precision}: this processor has no bfloat16: use 32-true")
