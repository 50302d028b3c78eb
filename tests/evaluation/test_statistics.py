"""What some returns say: their mean, and where it may lie."""

import numpy as np
import pytest

from world_models.evaluation.statistics import bootstrap_interval, summary


def test_a_summary_says_mean_deviation_interval_and_count():
    returns = np.array([1.0, 2.0, 3.0, 6.0])
    found = summary(returns)
    assert found["mean"] == 3.0
    assert found["std"] == pytest.approx(np.std(returns, ddof=1), abs=0.005)
    assert found["episodes"] == 4
    low, high = found["ci95"]
    assert 1 <= low < 3 < high <= 6
    assert summary(returns) == found


def test_the_interval_narrows_with_more_episodes_and_covers_as_often_as_it_says():
    random = np.random.default_rng(0)
    wide, narrow = (bootstrap_interval(random.normal(size=size)) for size in (20, 2000))
    assert narrow[1] - narrow[0] < 0.2 * (wide[1] - wide[0])
    assert narrow[1] - narrow[0] == pytest.approx(2 * 1.96 / 2000**0.5, rel=0.1)
    covered = 0
    for _ in range(60):
        low, high = bootstrap_interval(random.normal(size=60))
        covered += low < 0 < high
    assert covered >= 50


def test_less_confidence_makes_a_narrower_interval():
    returns = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_interval(returns, confidence=0.9)
    assert high - low == pytest.approx(2 * 1.645 / 20, rel=0.1)
    wider = bootstrap_interval(returns)
    assert wider[0] < low < returns.mean() < high < wider[1]
    assert bootstrap_interval(returns, confidence=0.9) == (low, high)


@pytest.mark.parametrize("count", [2, 5, 100])
def test_equal_returns_have_no_interval_and_no_warning(count):
    """BCa, another bootstrap, would divide by zero; a warning fails a test here."""
    assert bootstrap_interval(np.full(count, 7.1)) == (7.1, 7.1)
    assert summary(np.full(count, 7.1))["ci95"] == [7.1, 7.1]
