"""The mixture of Gaussians that M predicts z' with: one mixture for each latent dimension."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Mixture(NamedTuple):
    """K Gaussians for each latent dimension, with weights of that dimension's own.

    The paper's code shares no weights across dimensions; replications that did learned less.
    """

    logits: Tensor
    """Unnormalised log weights (..., z, K)."""
    mu: Tensor
    """Means (..., z, K)."""
    log_sigma: Tensor
    """Log standard deviations (..., z, K)."""


def split_mixture(outputs: Tensor, mixtures: int) -> Mixture:
    """Reads a mixture from M's outputs (..., z * K * 3)."""
    logits, mu, log_sigma = outputs.unflatten(-1, (-1, mixtures, 3)).unbind(-1)
    return Mixture(logits, mu, log_sigma)


def negative_log_likelihood(mixture: Mixture, latent: Tensor) -> Tensor:
    """-log p(latent) in nats for each dimension, (..., z).

    It may be negative: p is a density, and a narrow Gaussian's exceeds one.
    """
    deviation = (latent.unsqueeze(-1) - mixture.mu) * (-mixture.log_sigma).exp()
    log_density = -0.5 * deviation.square() - mixture.log_sigma - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(mixture.logits.log_softmax(-1) + log_density, dim=-1)


def heat(mixture: Mixture, temperature: float) -> Mixture:
    """The mixture at temperature tau: logits divided by tau, variances multiplied by it.

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
    cumulative = mixture.logits.softmax(-1).cumsum(-1)
    component = (uniform.unsqueeze(-1) > cumulative[..., :-1]).sum(-1, keepdim=True)
    mu = mixture.mu.gather(-1, component).squeeze(-1)
    log_sigma = mixture.log_sigma.gather(-1, component).squeeze(-1)
    return mu + log_sigma.exp() * normal
