"""V and M as they are when they only infer: on a device, in a precision, with packed weights.

On a processor oneDNN brings a layer's weights into an order of its own at every call, which for a
few frames takes longer than the products. Packed ones are in it already; the results are the same
to the bit. These are the operations that torch.compile makes of such layers, without its compiler.
"""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from world_models.models.mdnrnn import MDNRNN
from world_models.models.vae import VAE

Network = TypeVar("Network", VAE, MDNRNN)
LSTM = 2
"""oneDNN's number for it."""


def for_inference(
    network: Network, device: torch.device, dtype: torch.dtype = torch.float32
) -> Network:
    """The network itself; it can't be trained, moved or cast any more, but be sent to a process."""
    network.to(device, dtype)
    if device.type == "cpu" and torch.backends.mkldnn.is_available():
        _pack(network)
    return network


def _pack(network: VAE | MDNRNN) -> None:
    if isinstance(network, MDNRNN):
        network.lstm = PackedLSTM(network.lstm, network.sizes.hidden_size)
        return
    layers = [layer for layer in network.encoder if isinstance(layer, nn.Conv2d)]
    network.encoder = nn.Sequential(*map(PackedConvolution, layers), nn.Flatten())


class PackedConvolution(nn.Module):
    """A convolution and a ReLU."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self._packed = (layer,)
        self.bias = layer.bias
        self.how = layer.padding, layer.stride, layer.dilation, layer.groups
        pack = torch.ops.aten.mkldnn_reorder_conv2d_weight
        self.weight = pack(layer.weight.detach().to_mkldnn(), *self.how)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._packed

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) as the two of them see them."""
        packed = torch.ops.mkldnn._convolution_pointwise
        done: Tensor = packed(images, self.weight, self.bias, *self.how, "relu", [], "")
        return done


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
        """Steps (T, N, inputs) and state (1, N, hidden) twice, as the LSTM takes them."""
        hidden, cell = (part.squeeze(0) for part in state)
        every, hidden, cell, _ = torch.ops.aten.mkldnn_rnn_layer(
            steps, *self.weights, *self.biases, hidden, cell,
            False, [], LSTM, self.size, 1, True, False, False, False,
        )  # fmt: skip
        return every, (hidden.unsqueeze(0), cell.unsqueeze(0))
