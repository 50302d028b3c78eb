"""The mixture against torch.distributions, and temperature against its closed form."""

import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from world_models.rnn.mixture import Mixture, heat, negative_log_likelihood, sample, split_mixture


def a_mixture(*shape, mixtures=5, seed=0):
    """Mixtures for dimensions of this shape (..., z)."""
    torch.manual_seed(seed)
    logits, mu, log_sigma = torch.randn(3, *shape[:-1], mixtures, shape[-1]).double().unbind()
    return Mixture(logits, 2 * mu, 0.5 * log_sigma)


def distribution(mixture):
    """The same mixture as torch.distributions has it, one for each dimension."""
    logits, mu, log_sigma = (part.mT for part in mixture)
    return MixtureSameFamily(Categorical(logits=logits), Normal(mu, log_sigma.exp()))


def drawn(mixture, count, seed=1):
    """Samples of a mixture of one step (K, z): (count, z)."""
    generator = torch.Generator().manual_seed(seed)
    size = mixture.mu.shape[1]
    uniform = torch.rand(count, size, generator=generator, dtype=torch.float64)
    normal = torch.randn(count, size, generator=generator, dtype=torch.float64)
    return sample(Mixture(*(part.expand(count, -1, -1) for part in mixture)), uniform, normal)


def test_likelihood_is_that_of_torch_distributions():
    mixture = a_mixture(7, 3, 4)
    latent = torch.randn(7, 3, 4).double() * 3
    expected = -distribution(mixture).log_prob(latent)
    torch.testing.assert_close(negative_log_likelihood(mixture, latent), expected)


def test_likelihood_is_finite_far_away_and_negative_for_a_narrow_hit():
    mixture = Mixture(torch.zeros(2, 1), torch.zeros(2, 1), torch.full((2, 1), -5.0))
    far = negative_log_likelihood(mixture, torch.tensor([50.0]))
    assert torch.isfinite(far).all()
    hit = negative_log_likelihood(mixture, torch.tensor([0.0]))
    assert hit.item() == pytest.approx(0.5 * math.log(2 * math.pi) - 5, rel=1e-5)


def test_each_dimension_has_weights_of_its_own():
    mixture = a_mixture(1, 2)
    latent = torch.zeros(1, 2).double()
    before = negative_log_likelihood(mixture, latent)
    logits = mixture.logits.clone()
    logits[:, 0, 1] += 5
    after = negative_log_likelihood(mixture._replace(logits=logits), latent)
    assert after[0, 0] == before[0, 0]
    assert after[0, 1] != before[0, 1]


def test_a_mixture_is_read_from_ms_outputs_without_mixing_dimensions():
    outputs = torch.arange(2 * 3 * 4 * 3).reshape(2, 36)
    mixture = split_mixture(outputs, mixtures=4)
    parts = torch.stack(tuple(mixture), dim=1)
    assert parts.shape == (2, 3, 4, 3)
    torch.testing.assert_close(parts.flatten(1), outputs)


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.15, 3.0])
def test_temperature_changes_weights_and_spread_as_in_the_closed_form(temperature):
    mixture = a_mixture(2, 4)
    hot = heat(mixture, temperature)
    powered = mixture.logits.softmax(-2) ** (1 / temperature)
    torch.testing.assert_close(hot.logits.softmax(-2), powered / powered.sum(-2, keepdim=True))
    torch.testing.assert_close(hot.log_sigma.exp(), mixture.log_sigma.exp() * temperature**0.5)
    torch.testing.assert_close(hot.mu, mixture.mu)


def test_temperature_one_changes_nothing():
    mixture = a_mixture(4)
    for part, same in zip(heat(mixture, 1.0), mixture, strict=True):
        torch.testing.assert_close(part, same)


def test_samples_follow_the_mixtures_cdf_and_moments():
    mixture, count = a_mixture(3), 20_000
    samples, expected = drawn(mixture, count), distribution(mixture)
    spread = expected.variance.sqrt()
    error = 4 / math.sqrt(count)
    assert ((samples.mean(0) - expected.mean).abs() < error * spread).all()
    assert ((samples.std(0) - spread).abs() < error * spread * 2).all()
    ranked = samples.sort(dim=0).values
    share = (torch.arange(count).double()[:, None] + 0.5) / count
    # Kolmogorov and Smirnov's bound: 1.95 is passed by chance once in a thousand dimensions.
    assert (expected.cdf(ranked) - share).abs().max() < 1.95 / math.sqrt(count)


@pytest.mark.parametrize("temperature", [0.3, 1.15, 2.0])
def test_samples_get_hotter_as_the_closed_form_says(temperature):
    # Two components far apart, so that a sample tells which one it came from.
    mixture = Mixture(
        torch.tensor([[0.0], [1.0]]).double(),
        torch.tensor([[-50.0], [50.0]]).double(),
        torch.tensor([[0.0], [math.log(2.0)]]).double(),
    )
    samples = drawn(heat(mixture, temperature), 20_000)[:, 0]
    right = samples > 0
    share = 1 / (1 + math.exp(-1 / temperature))
    assert right.double().mean().item() == pytest.approx(share, abs=0.015)
    assert samples[right].std().item() == pytest.approx(2 * temperature**0.5, rel=0.05)
    assert samples[~right].std().item() == pytest.approx(temperature**0.5, rel=0.1)


def test_a_uniform_number_picks_the_component_whose_share_it_falls_in():
    mixture = Mixture(
        torch.tensor([[0.2], [0.5], [0.3]]).log().expand(4, 3, 1),
        torch.tensor([[1.0], [2.0], [3.0]]).expand(4, 3, 1),
        torch.zeros(4, 3, 1),
    )
    uniform = torch.tensor([[0.1], [0.25], [0.69], [0.9999999]])
    picked = sample(mixture, uniform, torch.zeros(4, 1))
    assert picked.flatten().tolist() == [1, 2, 2, 3]


def test_a_draw_is_the_chosen_gaussians_to_the_last_bit():
    torch.manual_seed(0)
    mixture = Mixture(*torch.randn(3, 50, 5, 8).unbind())
    uniform, normal = torch.rand(50, 8), torch.randn(50, 8)
    below = uniform[:, None] <= mixture.logits.softmax(1).cumsum(1)
    below[:, -1] = True
    first = below & (below.cumsum(1) == 1)
    mu, log_sigma = ((part * first).sum(1) for part in mixture[1:])
    assert torch.equal(sample(mixture, uniform, normal), mu + log_sigma.exp() * normal)
