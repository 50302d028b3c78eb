"""CMA-ES by ask and tell, on the `cma` package. The only place where a return is negated."""

import cma
import numpy as np


class CMAES:
    """Searches for parameters of high fitness (paper, appendix A.3)."""

    def __init__(
        self,
        start: np.ndarray,
        population: int,
        sigma: float,
        diagonal: bool | int,
        seed: int,
        sigma_decay: float = 1.0,
    ) -> None:
        """Prepares a search.

        Args:
            start: the parameters that it begins from (parameters,).
            sigma: the first step size.
            diagonal: only a variance for each parameter is learned, not their covariance: always,
                or in so many first generations.
            sigma_decay: factor on the step size after each generation, beside CMA-ES's own rule,
                which needs far more generations than a short search has.
        """
        self._sigma_decay = sigma_decay
        options = {
            "popsize": population,
            "seed": np.nan,  # leave numpy's shared generator alone
            "randn": np.random.RandomState(seed + 1).randn,
            "CMA_diagonal": diagonal,
            "verbose": -9,
            "verb_log": 0,
        }
        self._search = cma.CMAEvolutionStrategy(start, sigma, options)

    def ask(self) -> np.ndarray:
        """Returns a generation of candidates (population, parameters) float64."""
        return np.asarray(self._search.ask())

    def tell(self, candidates: np.ndarray, fitness: np.ndarray) -> None:
        """Learns from how the candidates did: fitness (population,), higher is better."""
        self._search.tell(list(candidates), (-fitness).tolist())
        self._search.sigma *= self._sigma_decay

    @property
    def mean(self) -> np.ndarray:
        """The mean of the search distribution: (parameters,) float64."""
        return np.asarray(self._search.mean)

    @property
    def sigma(self) -> float:
        """The step size."""
        return float(self._search.sigma)
