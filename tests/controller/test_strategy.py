"""CMA-ES: it maximises."""

import numpy as np
import pytest

from world_models.controller.strategy import CMAES

OPTIMUM = np.array([0.5, -0.3, 0.2, 0.0, 0.4])


def sphere(candidates):
    """Highest, at 0, in the optimum."""
    return -np.square(candidates - OPTIMUM).sum(axis=1)


def climb(strategy, generations):
    for _ in range(generations):
        candidates = strategy.ask()
        strategy.tell(candidates, sphere(candidates))
    return strategy.mean


@pytest.mark.parametrize("diagonal", [True, False, 20])
def test_it_climbs_to_the_highest_fitness(diagonal):
    strategy = CMAES(np.zeros(5), population=12, sigma=0.1, diagonal=diagonal, seed=1)
    assert strategy.mean.tolist() == [0] * 5
    np.testing.assert_allclose(climb(strategy, 60), OPTIMUM, atol=0.02)


def test_the_step_size_decays_beside_cma_es_own_rule():
    plain, decaying = (
        CMAES(np.zeros(5), 12, 0.1, True, 1, sigma_decay=decay) for decay in (1, 0.8)
    )
    for strategy in (plain, decaying):
        climb(strategy, 1)
    assert decaying.sigma == pytest.approx(0.8 * plain.sigma)
    np.testing.assert_array_equal(decaying.mean, plain.mean)
    assert decaying.ask().std() == pytest.approx(0.8 * plain.ask().std(), rel=0.1)


def test_covariances_are_learned_once_the_first_generations_are_over():
    def correlation(diagonal):
        """Of two parameters that only matter by their difference."""
        strategy = CMAES(np.zeros(2), 100, 0.1, diagonal, seed=1)
        for _ in range(40):
            candidates = strategy.ask()
            strategy.tell(candidates, -np.square(candidates @ [1, -1] - 0.5))
        return np.corrcoef(strategy.ask().T)[0, 1]

    assert abs(correlation(True)) < 0.3
    assert correlation(5) > 0.9


def test_candidates_have_their_shape_and_spread():
    strategy = CMAES(np.zeros(200), population=30, sigma=0.1, diagonal=True, seed=1)
    candidates = strategy.ask()
    assert candidates.shape == (30, 200)
    assert candidates.std() == pytest.approx(0.1, rel=0.05)
    assert strategy.sigma == pytest.approx(0.1)


def test_equal_seeds_draw_equal_candidates_whoever_else_draws_random_numbers():
    def run(seed, disturbed=False):
        strategy = CMAES(np.zeros(5), 12, 0.1, False, seed)
        for _ in range(3):
            if disturbed:
                np.random.seed(0)
                np.random.standard_normal(7)
            climb(strategy, 1)
        return strategy.mean

    np.testing.assert_array_equal(run(3), run(3, disturbed=True))
    assert (run(3) != run(4)).any()
