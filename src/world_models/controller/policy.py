"""C: the controller, linear in the paper, for one agent or for a whole population at once."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from world_models.worlds.config import Ends


@dataclass(frozen=True)
class ControllerSizes:
    """What a checkpoint of C is bound to.

    The paper's C has 867 parameters for CarRacing, and 1,088 for TakeCover.
    """

    feature_size: int
    """Numbers that C acts on: all of a world's features, or the first of them, z alone."""
    action_size: int
    bias: bool
    cell: bool
    """C sees M's cell state beside its hidden state (TakeCover in the paper)."""
    sampled: bool = True
    """In the real world, C and M see a z drawn from V's posterior (the paper), not its mean.

    Dimensions that V leaves unused are pure noise in a drawn z, and nearly constant in the mean.
    """

    hidden_units: int | None = None
    """Tanh units between features and actions; None: C is linear, as the paper's agent is."""

    temperature: float = 1.0
    """Tau of the dreams that it was evolved or validated in."""

    ends: Ends = "likely"
    """When an episode of these dreams ended."""

    task: str | None = None
    """The game that it plays, if that is known."""

    def in_dreams_of(self, other: "ControllerSizes") -> "ControllerSizes":
        """Returns the same for the dreams of another controller."""
        return replace(self, temperature=other.temperature, ends=other.ends)

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Outputs and inputs of each layer."""
        widths = [self.feature_size, self.hidden_units, self.action_size]
        used = [width for width in widths if width is not None]
        return list(zip(used[1:], used, strict=False))

    @property
    def parameter_count(self) -> int:
        """The number of parameters that evolution searches over."""
        return sum(outputs * (inputs + self.bias) for outputs, inputs in self.layers)


class Controllers:
    """P controllers, a = tanh(W [z, h] + b), as rows of one matrix (P, parameter_count).

    With hidden units (paper, section 3.4) there is such a layer before.
    """

    def __init__(self, sizes: ControllerSizes, parameters: Tensor) -> None:
        self.sizes = sizes
        self.parameters = parameters
        self._layers = weights_and_biases(sizes, parameters)

    def __len__(self) -> int:
        return self.parameters.shape[0]

    def at(self, index: Tensor) -> "Controllers":
        """Returns those at index (n,), in this order."""
        return Controllers(self.sizes, self.parameters[index])

    def to(self, device: torch.device | str) -> "Controllers":
        """Returns the same on another device."""
        return Controllers(self.sizes, self.parameters.to(device))

    def act(self, features: Tensor) -> Tensor:
        """Maps a world's features (P * S, F or more) to actions (P * S, A) in [-1, 1].

        Each controller in turn has S lanes.
        """
        seen = features[:, : self.sizes.feature_size]
        values = seen.unflatten(0, (len(self), -1))
        for weight, bias in self._layers:
            values = torch.einsum("psf,paf->psa", values, weight)
            if self.sizes.bias:
                values = values + bias.unsqueeze(1)
            values = values.tanh()
        return values.flatten(0, 1)


def weights_and_biases(sizes: ControllerSizes, parameters: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Returns each layer's W (P, outputs, inputs) and b (P, outputs), or (P, 0) without biases.

    They are views of parameters (P, parameter_count), where they lie in this order.
    """
    found = []
    for outputs, inputs in sizes.layers:
        own = [outputs * inputs, outputs * sizes.bias]
        weight, bias, parameters = parameters.split([*own, parameters.shape[1] - sum(own)], dim=1)
        found.append((weight.unflatten(1, (outputs, inputs)), bias))
    return found
