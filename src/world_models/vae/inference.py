"""V as it is when it only infers: on a device, in a precision, with packed weights.

On a processor oneDNN brings a layer's weights into an order of its own at every call, which for a
few frames takes longer than the products. Packed ones are in it already; the results are the same
to the bit. These are the operations that torch.compile makes of such layers, without its compiler.
"""

from typing import Any

import torch
from torch import Tensor, nn

from world_models.vae.model import VAE


def vae_for_inference(
    vae: VAE, device: torch.device | str, dtype: torch.dtype = torch.float32
) -> VAE:
    """Returns V itself; it can't be trained, moved or cast any more, but be sent to a process."""
    vae.to(device, dtype)
    if vae.device.type == "cpu" and torch.backends.mkldnn.is_available():
        layers = [layer for layer in vae.encoder if isinstance(layer, nn.Conv2d)]
        vae.encoder = nn.Sequential(*map(PackedConvolution, layers), nn.Flatten())
    return vae


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
        """Applies both to images (N, C, H, W)."""
        packed = torch.ops.mkldnn._convolution_pointwise
        done: Tensor = packed(images, self.weight, self.bias, *self.how, "relu", [], "")
        return done
