"""What some returns say: mean, deviation, and where the mean may lie."""

import numpy as np

RESAMPLES = 10_000


def summary(returns: np.ndarray) -> dict[str, float | int | list[float]]:
    """Returns mean, deviation, 95% interval of the mean and number of returns (episodes,)."""
    return {
        "mean": round(float(returns.mean()), 2),
        "std": round(float(returns.std(ddof=1)), 2),
        "ci95": [round(bound, 2) for bound in bootstrap_interval(returns)],
        "episodes": len(returns),
    }


def bootstrap_interval(returns: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the percentile bootstrap interval of the mean of returns (episodes,).

    It is the same at each call.
    """
    drawn = np.random.default_rng(0).integers(0, len(returns), (RESAMPLES, len(returns)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(returns[drawn].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)
