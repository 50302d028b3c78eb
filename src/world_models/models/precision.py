"""float32 or bfloat16: what this machine can compute in."""

import torch

from world_models.config import Precision, WeightsPrecision
from world_models.errors import ConfigError


def has_bfloat16() -> bool:
    """Whether torch has kernels for it here: a GPU, or a processor with AVX-512 or AMX."""
    return torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def require(precision: Precision | WeightsPrecision) -> None:
    """Raises ConfigError for bfloat16 where there is none: on older processors."""
    if precision != "32-true" and not has_bfloat16():
        raise ConfigError(f"precision: {precision}: this processor has no bfloat16: use 32-true")


def weights_dtype(precision: WeightsPrecision) -> torch.dtype:
    """What the weights of V and M are kept in when they only infer; raises as `require` does."""
    require(precision)
    return torch.float32 if precision == "32-true" else torch.bfloat16
