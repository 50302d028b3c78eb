"""Random streams, one a lane: independent of each other and of who else draws."""

import math

import pytest
import torch

from world_models.worlds.noise import LaneNoise, uniform

NUMBERS = 20_000


def seeded(seeds):
    noise = LaneNoise(len(seeds))
    noise.seed(torch.arange(len(seeds)), seeds)
    return noise


def lanes(*indices):
    return torch.tensor(indices)


def furthest_from(cdf, samples):
    """Kolmogorov and Smirnov's distance, in units of 1 / sqrt(n)."""
    ranked = samples.double().sort().values
    share = (torch.arange(len(ranked)).double() + 0.5) / len(ranked)
    return float((cdf(ranked) - share).abs().max() * math.sqrt(len(ranked)))


@pytest.mark.parametrize("seed", [0, 1, 3_000_000, 2**62])
def test_uniform_numbers_are_uniform(seed):
    drawn = seeded([seed]).uniform(lanes(0), NUMBERS)[0]
    assert ((drawn > 0) & (drawn < 1)).all()
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.01)
    assert drawn.var().item() == pytest.approx(1 / 12, abs=0.003)
    assert furthest_from(lambda x: x, drawn) < 1.95


@pytest.mark.parametrize("seed", [0, 1, 3_000_000, 2**62])
def test_normal_numbers_are_normal(seed):
    drawn = seeded([seed]).normal(lanes(0), NUMBERS)[0]
    assert drawn.mean().item() == pytest.approx(0, abs=0.03)
    assert drawn.std().item() == pytest.approx(1, abs=0.02)
    assert drawn.pow(4).mean().item() == pytest.approx(3, abs=0.25)
    assert furthest_from(torch.distributions.Normal(0.0, 1.0).cdf, drawn) < 1.95


def test_the_first_numbers_of_consecutive_seeds_are_normal_too():
    """Episodes have consecutive seeds: their first numbers must look as independent as any."""
    noise = seeded(range(NUMBERS))
    drawn = noise.normal(torch.arange(NUMBERS), 2)
    for column in drawn.T:
        assert furthest_from(torch.distributions.Normal(0.0, 1.0).cdf, column) < 1.95
    assert torch.corrcoef(drawn.T)[0, 1].abs() < 0.03
    assert torch.corrcoef(torch.stack([drawn[1:, 0], drawn[:-1, 0]]))[0, 1].abs() < 0.03


def test_numbers_of_a_stream_do_not_tell_the_next_ones():
    drawn = seeded([5]).normal(lanes(0), NUMBERS)[0]
    for apart in (1, 2, 64):
        pairs = torch.stack([drawn[apart:], drawn[:-apart]])
        assert torch.corrcoef(pairs)[0, 1].abs() < 0.03


def test_streams_of_different_seeds_are_unrelated():
    drawn = seeded([1, 2, 3, 2**40 + 1]).normal(torch.arange(4), NUMBERS)
    related = torch.corrcoef(drawn) - torch.eye(4)
    assert related.abs().max() < 0.03
    assert len(drawn.flatten().unique()) > 0.99 * drawn.numel()


def test_a_stream_does_not_depend_on_its_neighbours_or_on_how_it_is_cut():
    together = seeded([7, 8, 9])
    first = together.normal(lanes(0, 1, 2), 6)
    alone = seeded([8])
    pieces = [alone.normal(lanes(0), size) for size in (1, 2, 3)]
    torch.testing.assert_close(torch.cat(pieces, dim=1)[0], first[1], rtol=0, atol=0)


def test_a_lane_that_is_left_out_draws_nothing():
    noise, whole = seeded([7, 8]), seeded([7, 8])
    expected = whole.uniform(lanes(0, 1), 5)
    noise.uniform(lanes(1), 3)
    torch.testing.assert_close(noise.uniform(lanes(0), 5)[0], expected[0], rtol=0, atol=0)
    torch.testing.assert_close(noise.uniform(lanes(1), 2)[0], expected[1, 3:], rtol=0, atol=0)


def test_lanes_may_be_drawn_in_any_order():
    forward, backward = seeded([7, 8, 9]), seeded([7, 8, 9])
    one, other = forward.normal(lanes(0, 2), 4), backward.normal(lanes(2, 0), 4)
    torch.testing.assert_close(one, other.flip(0), rtol=0, atol=0)


def test_seeding_a_lane_again_starts_its_stream_anew_and_no_other():
    noise = seeded([7, 8])
    first = noise.normal(lanes(0, 1), 4)
    noise.seed(lanes(0), [7])
    second = noise.normal(lanes(0, 1), 4)
    torch.testing.assert_close(second[0], first[0], rtol=0, atol=0)
    assert (second[1] != first[1]).all()


def test_equal_seeds_make_equal_streams_in_any_lane():
    drawn = seeded([7, 8, 7]).uniform(torch.arange(3), 10)
    torch.testing.assert_close(drawn[0], drawn[2], rtol=0, atol=0)
    assert (drawn[0] != drawn[1]).any()


def test_uniform_numbers_stay_below_one_even_for_the_highest_bits():
    lowest, highest = uniform(torch.tensor([0, -1]))
    assert 0 < lowest < highest < 1


def test_numbers_are_splitmix64s_to_the_last_bit():
    whole = 2**64 - 1

    def mix(x):
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & whole
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & whole
        return x ^ (x >> 31)

    def words(seed, start, stop):
        key = mix((seed + 0x9E3779B97F4A7C15) & whole)
        return [mix((key + at * 0x9E3779B97F4A7C15) & whole) for at in range(start, stop)]

    def unit(word, low):
        bits = (word >> low) & (2**24 - 1)
        return min((torch.tensor(float(bits)) + 0.5) * 2.0**-24, torch.tensor(1 - 2.0**-24))

    noise, seeds = seeded([7, 2**62]), (7, 2**62)
    flat, normal = noise.uniform(lanes(0, 1), 3), noise.normal(lanes(0, 1), 40)
    again = noise.uniform(lanes(0, 1), 1)
    for lane, seed in enumerate(seeds):
        assert flat[lane].tolist() == [unit(word, 40).item() for word in words(seed, 0, 3)]
        high, low = (
            torch.stack([unit(word, bits) for word in words(seed, 3, 43)]) for bits in (40, 16)
        )
        expected = (-2 * high.log()).sqrt() * (2 * math.pi * low).cos()
        assert torch.equal(normal[lane], expected)
        assert again[lane].item() == unit(words(seed, 43, 44)[0], 40).item()
