"""C: the linear controller, for one agent or for a whole population at once."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ControllerSizes:
    """Sizes that a checkpoint of C is bound to; the paper's: 867 (CarRacing), 1,088 (TakeCover)."""

    feature_size: int
    action_size: int
    bias: bool
    cell: bool
    """C sees M's cell state beside its hidden state (TakeCover in the paper)."""
    sampled: bool = True
    """In the real world, C and M see a z drawn from V's posterior (the paper), not its mean.

    Dimensions that V leaves unused are pure noise in a drawn z, and nearly constant in the mean.
    """

    @property
    def parameter_count(self) -> int:
        """How many numbers evolution searches over."""
        return self.action_size * (self.feature_size + self.bias)


class Controllers:
    """P linear controllers, a = tanh(W [z, h] + b), as rows of one matrix (P, parameter_count)."""

    def __init__(self, sizes: ControllerSizes, parameters: Tensor) -> None:
        self.sizes = sizes
        self.parameters = parameters
        self._weight, self._bias = weight_and_bias(sizes, parameters)

    def __len__(self) -> int:
        return self.parameters.shape[0]

    def at(self, index: Tensor) -> "Controllers":
        """Some of them, in this order: index (n,)."""
        return Controllers(self.sizes, self.parameters[index])

    def to(self, device: torch.device) -> "Controllers":
        """The same on another device."""
        return Controllers(self.sizes, self.parameters.to(device))

    def act(self, features: Tensor) -> Tensor:
        """Features (P * S, F), S lanes for each controller in turn, to actions (P * S, A)."""
        grouped = features.unflatten(0, (len(self), -1))
        actions = torch.einsum("psf,paf->psa", grouped, self._weight)
        if self.sizes.bias:
            actions = actions + self._bias.unsqueeze(1)
        return actions.tanh().flatten(0, 1)


def weight_and_bias(sizes: ControllerSizes, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """W (P, A, F) and b (P, A), or (P, 0) without one, of parameters (P, parameter_count)."""
    weight = parameters[:, : sizes.action_size * sizes.feature_size]
    bias = parameters[:, weight.shape[1] :]
    return weight.unflatten(1, (sizes.action_size, sizes.feature_size)), bias
