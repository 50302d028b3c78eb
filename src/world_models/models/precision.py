"""float32 or bfloat16: what this machine can compute in."""

import torch

from world_models.config import Precision, WeightsPrecision
from world_models.errors import ConfigError


def require(precision: Precision | WeightsPrecision) -> None:
    """Raises ConfigError for bfloat16 where torch has no kernels for it: on older processors."""
    able = torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if precision != "32-true" and not able:
        raise ConfigError(f"precision: {precision}: this processor has no bfloat16: use 32-true")


def weights_dtype(precision: WeightsPrecision) -> torch.dtype:
    """What the weights of V and M are kept in when they only infer; raises as `require` does."""
    require(precision)
    return torch.float32 if precision == "32-true" else torch.bfloat16
