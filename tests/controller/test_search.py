"""The search: it finds better controllers, the same ones each time."""

from contextlib import closing
from itertools import islice

import numpy as np
import pytest
import torch

from tests.configs import changed, smoke
from tests.dreams import HIDDEN, LATENT, STEPS, rewarding_dream
from world_models.controller.evaluator import ParallelEvaluator, evaluate
from world_models.controller.policy import ControllerSizes
from world_models.controller.search import (
    Validation,
    evolve,
    fooled,
    generation_seeds,
    validation_seeds,
)
from world_models.data.seeds import EVOLVE, VALIDATE
from world_models.runtime.journal import Journal
from world_models.runtime.processes import WorkerPool
from world_models.worlds.rollout import Played

SIZES = ControllerSizes(LATENT + HIDDEN, 1, bias=True, cell=False)
CONFIG = smoke(
    "controller",
    population=8,
    episodes=2,
    generations=9,
    sigma=0.3,
    diagonal=True,
    validate_every=4,
    validation_episodes=3,
)


def search(seed=1, centre=None, start=None, config=CONFIG, journal=None, killed_after=None):
    judge = rewarding_dream(CONFIG.validation_episodes)
    seeds = validation_seeds(CONFIG.validation_episodes)

    def validate(mean):
        return Validation(evaluate(judge, mean, seeds), evaluate(judge, mean, seeds))

    lanes = CONFIG.population * CONFIG.episodes
    with closing(WorkerPool(1)) as pool:
        evaluator = ParallelEvaluator(rewarding_dream, lanes, 1, pool)
        found = evolve(lambda _: evaluator, validate, SIZES, config, seed, centre, start, journal)
        return list(islice(found, killed_after))


@pytest.fixture(scope="module")
def generations():
    return search()


def test_the_search_improves(generations):
    assert generations[0].returns.mean() < 0.2 * STEPS
    assert generations[-1].returns.mean() > 0.4 * STEPS
    assert generations[-1].merit > 0.4 * STEPS


def test_the_mean_is_validated_every_few_generations_and_after_the_last(generations):
    assert [g.number for g in generations] == list(range(1, 10))
    assert [g.number for g in generations if g.validation is not None] == [4, 8, 9]
    assert generations[3].validation.real.returns.shape == (1, 3)
    assert [g.number for g in generations if g.merit > -np.inf] == [4, 8, 9]


def test_a_generation_says_what_it_cost_and_how_each_candidate_did(generations):
    assert generations[0].steps == CONFIG.population * CONFIG.episodes * STEPS
    assert generations[0].returns.shape == (CONFIG.population,)
    assert len(generations[0].mean) == 1
    assert generations[0].sigma > 0


def test_equal_seeds_find_equal_controllers(generations):
    for one, other in zip(generations, search(), strict=True):
        np.testing.assert_array_equal(one.returns, other.returns)
        np.testing.assert_array_equal(one.mean.parameters, other.mean.parameters)
    assert (search(seed=2)[-1].mean.parameters != generations[-1].mean.parameters).any()


@pytest.mark.parametrize("killed_after", [1, 4, 9])
def test_a_search_that_was_killed_goes_on_to_the_same_bits(tmp_path, killed_after):
    undisturbed = search(journal=Journal(tmp_path / "undisturbed"))
    begun = search(journal=Journal(tmp_path / "journal"), killed_after=killed_after)
    resumed = search(journal=Journal(tmp_path / "journal"))
    for one, other in zip(undisturbed, resumed, strict=True):
        assert one.returns.tobytes() == other.returns.tobytes()
        assert (one.sigma, one.steps, one.merit) == (other.sigma, other.steps, other.merit)
        assert torch.equal(one.mean.parameters, other.mean.parameters)
        if one.validation is not None:
            for played, again in zip(one.validation, other.validation, strict=True):
                assert played.returns.tobytes() == again.returns.tobytes()
                assert played.lengths.tolist() == again.lengths.tolist()
    assert [g.at for g in resumed[:killed_after]] == [g.at for g in begun]


def test_what_the_journal_holds_is_not_played_again(tmp_path, monkeypatch):
    search(journal=Journal(tmp_path / "journal"), killed_after=4)
    played = []
    score_once = ParallelEvaluator.evaluate
    monkeypatch.setattr(
        ParallelEvaluator, "evaluate", lambda *args: played.append(args) or score_once(*args)
    )
    search(journal=Journal(tmp_path / "journal"))
    assert len(played) == CONFIG.generations - 4


def test_around_another_centre_the_same_candidates_are_other_controllers(generations):
    around_zero = search(centre=torch.zeros(SIZES.feature_size))
    np.testing.assert_array_equal(around_zero[0].returns, generations[0].returns)
    elsewhere = search(centre=torch.ones(SIZES.feature_size))
    assert (elsewhere[0].returns != generations[0].returns).any()


@pytest.mark.parametrize("centre", [None, torch.linspace(-1, 1, SIZES.feature_size)])
def test_a_search_goes_on_from_where_another_came_to(generations, centre):
    found = generations[-1].mean
    config = changed(CONFIG, generations=1, sigma=1e-6)
    after = search(centre=centre, start=found, config=config)[0]
    assert after.merit == pytest.approx(generations[-1].merit, abs=1e-3)
    torch.testing.assert_close(after.mean.parameters, found.parameters, atol=1e-4, rtol=0)


def test_candidates_play_more_episodes_from_generation_to_generation():
    config = changed(CONFIG, generations=5, more_episodes=3)
    episodes = [
        generation.steps / CONFIG.population / STEPS for generation in search(config=config)
    ]
    assert episodes == [2, 3, 4, 4, 5]


def test_each_generation_plays_on_seeds_of_its_own():
    first, second = generation_seeds(16, 1, 1), generation_seeds(16, 1, 2)
    assert first == generation_seeds(16, 1, 1)
    assert not set(first) & set(second)
    assert all(seed in EVOLVE for seed in first + second)
    assert list(validation_seeds(3)) == list(VALIDATE)[:3]
    assert list(validation_seeds(3, round_=2)) == list(VALIDATE)[3:6]


@pytest.mark.parametrize(
    ("real", "dream", "expected"),
    [
        ([8, 9, 7, 9], [11, 12], True),
        ([8, 9, 7, 9], [9, 9], False),  # it falls in both worlds
        ([1, 20, 1, 10], [11, 12], False),  # by chance, as likely as not
        ([12, 12, 12, 12], [11, 12], False),
    ],
)
def test_the_dream_fools_where_it_rises_and_the_game_falls_beyond_chance(real, dream, expected):
    before = a_validation([10, 11, 10, 11], [10, 10])
    assert fooled(before, a_validation(real, dream), among=1) is expected


def test_the_best_of_many_was_lucky_and_has_to_fall_further():
    before, now = a_validation([10, 11, 10, 11], [10, 10]), a_validation([8, 9, 9, 11], [11, 12])
    assert fooled(before, now, among=1)
    assert not fooled(before, now, among=20)


def a_validation(real, dream):
    played = [Played(np.array([returns], float), np.ones((1, 1), int)) for returns in (real, dream)]
    return Validation(*played)


def test_a_search_may_go_on_in_another_world():
    """The first generations are of one evaluator, the last of another."""
    config = changed(CONFIG, train_in="dream-then-real", real_generations=3)
    asked = []
    evaluator = ParallelEvaluator(
        rewarding_dream, CONFIG.population * CONFIG.episodes, 1, WorkerPool(1)
    )

    def evaluators(number):
        asked.append(config.is_real(number))
        return evaluator

    list(evolve(evaluators, None, SIZES, config, 1))
    assert asked == [False] * 6 + [True] * 3
