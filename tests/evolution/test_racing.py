"""Racing: who is behind after the first episodes is dropped, and ranked below the others."""

from contextlib import closing

import numpy as np
import pytest
import torch

from tests.dreams import HIDDEN, LATENT, STEPS, rewarding_dream
from world_models.evolution.fitness import Arena
from world_models.evolution.racing import race
from world_models.execution.crew import Crew
from world_models.models.controller import Controllers, ControllerSizes
from world_models.worlds.rollout import Played

SIZES = ControllerSizes(LATENT + HIDDEN, 1, bias=True, cell=False)


class Judge:
    """In an arena's place: returns are written down beforehand, (candidates, seeds)."""

    def __init__(self, returns):
        self.returns, self.calls = np.array(returns, float), []

    def score(self, candidates, seeds):
        """A candidate is known by its first parameter, a seed by its number."""
        which = candidates.parameters[:, 0].long().tolist()
        self.calls.append((which, list(seeds)))
        returns = self.returns[np.ix_(which, seeds)]
        return Played(returns, np.full(returns.shape, 10))


def numbered(count):
    return Controllers(SIZES, torch.arange(count)[:, None].expand(-1, SIZES.parameter_count))


def test_only_the_better_half_plays_on():
    judge = Judge([[1, 9, 9], [5, 0, 2], [4, 1, 3], [2, 9, 9], [3, 9, 12]])
    raced = race(judge, numbered(5), [0, 1, 2], opening=1)
    assert judge.calls == [([0, 1, 2, 3, 4], [0]), ([4, 2, 1], [1, 2])]
    assert raced.steps == (5 + 3 * 2) * 10
    np.testing.assert_allclose(raced.returns, [1, 7 / 3, 8 / 3, 2, 8])
    assert raced.fitness.tolist() == [0, 2, 3, 1, 4]


def test_whoever_is_dropped_lies_below_whoever_went_on_and_failed():
    raced = race(Judge([[5, -90], [4, -80], [3, 99], [2, 99]]), numbered(4), [0, 1], opening=1)
    assert raced.fitness.tolist() == [2, 3, 1, 0]


@pytest.mark.parametrize("opening", [0, 3, 4])
def test_without_a_race_all_play_everything(opening):
    judge = Judge([[1, 2, 3], [3, 2, 4]])
    raced = race(judge, numbered(2), [0, 1, 2], opening)
    assert judge.calls == [([0, 1], [0, 1, 2])]
    assert raced.fitness.tolist() == raced.returns.tolist() == [2, 3]


def test_a_race_in_a_dream_costs_less_and_finds_the_same_best():
    torch.manual_seed(0)
    candidates = Controllers(SIZES, torch.randn(8, SIZES.parameter_count))
    with closing(Crew(1)) as crew:
        arena = Arena(rewarding_dream, 32, crew)
        all_play, raced = (race(arena, candidates, range(4), opening) for opening in (0, 1))
    assert all_play.steps == 8 * 4 * STEPS
    assert raced.steps == (8 + 4 * 3) * STEPS
    best = all_play.returns.argmax()
    assert raced.fitness.argmax() == best
    assert raced.returns[best] == pytest.approx(all_play.returns[best], abs=1e-4)
