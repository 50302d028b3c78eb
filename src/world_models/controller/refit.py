"""C carried over to the features of another V and M, where it is to do what it did before."""

import torch
from torch import Tensor

from world_models.controller.policy import Controllers, ControllerSizes, weights_and_biases

RIDGE = 1e-2
"""The penalty on weights, as a share of what a feature of unit variance brings in."""
SATURATED = 3.0
"""Outputs before tanh count up to here: beyond, the action hardly changes."""


def refit(old: Controllers, before: Tensor, now: Tensor, sizes: ControllerSizes) -> Controllers:
    """Returns one linear C of these sizes that acts on features `now` as `old` does on `before`.

    It is the ridge regression of the old one's outputs, before tanh, on the new features, each of
    which is scaled to unit variance for it.

    Args:
        old: one controller, linear.
        before: what it saw at some steps (T, F).
        now: what the new one would have seen at the same steps (T, F').

    Raises ValueError where one of the two is not linear, or the new one has no bias.
    """
    if old.sizes.hidden_units or sizes.hidden_units or not sizes.bias:
        raise ValueError("only a linear C can be carried over, to one with a bias")
    outputs = _outputs(old, before.double()).clamp(-SATURATED, SATURATED)
    seen = now.double()[:, : sizes.feature_size]
    mean, deviation = seen.mean(0), seen.std(0).clamp(min=1e-6)
    scaled = (seen - mean) / deviation
    penalty = RIDGE * len(seen) * torch.eye(seen.shape[1], dtype=seen.dtype)
    fitted = torch.linalg.solve(scaled.T @ scaled + penalty, scaled.T @ (outputs - outputs.mean(0)))
    weight = fitted.T / deviation
    bias = outputs.mean(0) - weight @ mean
    return Controllers(sizes, torch.cat([weight.flatten(), bias]).float()[None])


def _outputs(controllers: Controllers, features: Tensor) -> Tensor:
    """What C gives before tanh (T, A)."""
    ((weight, bias),) = weights_and_biases(controllers.sizes, controllers.parameters.double())
    found = features[:, : controllers.sizes.feature_size] @ weight[0].T
    return found + bias[0] if controllers.sizes.bias else found
