"""M as it is when it only infers: on a device, in a precision, with packed weights.

Why weights are packed is told in `world_models.vae.inference`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from world_models.rnn.model import MDNRNN

LSTM = 2
"""oneDNN's number for it."""


def rnn_for_inference(
    rnn: MDNRNN, device: torch.device | str, dtype: torch.dtype = torch.float32
) -> MDNRNN:
    """Returns M itself; it can't be trained, moved or cast any more, but be sent to a process."""
    rnn.to(device, dtype)
    if rnn.device.type == "cpu" and torch.backends.mkldnn.is_available():
        rnn.lstm = PackedLSTM(rnn.lstm, rnn.sizes.hidden_size)
    return rnn


class PackedLSTM(nn.Module):
    """An LSTM of one layer."""

    def __init__(self, layer: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self._packed = layer, hidden_size
        self.size = hidden_size
        ih, hh, *self.biases = (parameter.detach() for parameter in layer.parameters())
        self.weights = torch.ops.mkldnn._reorder_mkldnn_rnn_layer_weight(
            ih, hh, self.size, False, True, False, None
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._packed

    def forward(
        self, steps: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Takes steps (T, N, inputs) and state (1, N, hidden) twice, as torch's LSTM does."""
        hidden, cell = (part.squeeze(0) for part in state)
        every, hidden, cell, _ = torch.ops.aten.mkldnn_rnn_layer(
            steps, *self.weights, *self.biases, hidden, cell,
            False, [], LSTM, self.size, 1, True, False, False, False,
        )  # fmt: skip
        return every, (hidden.unsqueeze(0), cell.unsqueeze(0))
