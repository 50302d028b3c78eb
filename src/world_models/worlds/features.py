"""What C sees, [z, h] or [z, h, c]: put together here and nowhere else."""

import torch
from torch import Tensor

from world_models.rnn.model import MDNRNNSizes, State


def features(latent: Tensor, state: State, cell: bool) -> Tensor:
    """Joins z (N, z) with M's state before it: (N, z + h), or (N, z + 2 h) with the cell state.

    The state is of all that M saw before z's frame: C sees h_t, never h_{t+1}.
    """
    return torch.cat([latent, state.hidden, *([state.cell] if cell else [])], dim=1)


def feature_size(sizes: MDNRNNSizes, cell: bool) -> int:
    """Returns the length of C's input: [z, h], or [z, h, c] where C sees the cell state too."""
    return sizes.latent_size + sizes.hidden_size * (2 if cell else 1)
