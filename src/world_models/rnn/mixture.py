"""The mixture of Gaussians that M predicts z' with: one mixture for each latent dimension."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Mixture(NamedTuple):
    """K Gaussians for each latent dimension, with weights of that dimension's own.

    The paper's code shares no weights across dimensions; replications that did learned less. The
    Gaussians come before the dimensions: sums over a few of them then run over whole rows of z.
    """

    logits: Tensor
    """Unnormalised log weights (..., K, z)."""
    mu: Tensor
    """Means (..., K, z)."""
    log_sigma: Tensor
    """Log standard deviations (..., K, z)."""


def split_mixture(outputs: Tensor, mixtures: int) -> Mixture:
    """Reads a mixture from M's outputs (..., 3 * K * z)."""
    return Mixture(*outputs.unflatten(-1, (3, mixtures, -1)).unbind(-3))


def negative_log_likelihood(mixture: Mixture, latent: Tensor) -> Tensor:
    """Returns -log p(latent) in nats for each dimension, (..., z).

    It may be negative: p is a density, and a narrow Gaussian's exceeds one.
    """
    deviation = (latent.unsqueeze(-2) - mixture.mu) * (-mixture.log_sigma).exp()
    log_density = -0.5 * deviation.square() - mixture.log_sigma - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(mixture.logits.log_softmax(-2) + log_density, dim=-2)


def heat(mixture: Mixture, temperature: float) -> Mixture:
    """Returns the mixture at temperature tau: logits divided by tau, variances times tau.

    Section 2.2 and the authors' code: tau > 1 makes the dream less certain, tau -> 0 makes each
    dimension its likeliest component's mean.
    """
    return Mixture(
        mixture.logits / temperature,
        mixture.mu,
        mixture.log_sigma + 0.5 * math.log(temperature),
    )


def sample(mixture: Mixture, uniform: Tensor, normal: Tensor) -> Tensor:
    """Draws z (..., z) with one uniform number in (0, 1) and one normal number a dimension."""
    past = uniform.unsqueeze(-2) > mixture.logits.softmax(-2).cumsum(-2)[..., :-1, :]
    chosen = past.sum(-2, keepdim=True)
    mu, log_sigma = (part.gather(-2, chosen).squeeze(-2) for part in mixture[1:])
    return mu + log_sigma.exp() * normal
