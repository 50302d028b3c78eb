"""Racing: candidates that look hopeless after a few episodes play no more of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from world_models.evolution.fitness import Arena
from world_models.models.controller import Controllers


class Race(NamedTuple):
    """How the candidates of a generation did."""

    returns: np.ndarray
    """Mean return of each over the episodes that it played (P,)."""
    fitness: np.ndarray
    """What evolution learns from (P,), higher is better: who was dropped lies under all others."""
    steps: int
    """Steps played by all of them."""


def race(arena: Arena, candidates: Controllers, seeds: Sequence[int], opening: int) -> Race:
    """Plays all candidates on the first `opening` seeds, and only the better half on the others.

    CMA-ES moves towards the better half alone, so among the others the order hardly matters. An
    `opening` of 0, or of all seeds, drops nobody.
    """
    first = arena.score(candidates, seeds[: opening or None])
    returns, steps = first.returns.mean(axis=1), int(first.lengths.sum())
    if not 0 < opening < len(seeds):
        return Race(returns, returns, steps)
    better = np.argsort(returns, kind="stable")[len(candidates) // 2 :]
    rest = arena.score(candidates.at(torch.from_numpy(better)), seeds[opening:])
    played = np.concatenate([first.returns[better], rest.returns], axis=1)
    returns[better] = played.mean(axis=1)
    return Race(returns, _places(returns, better), steps + int(rest.lengths.sum()))


def _places(returns: np.ndarray, better: np.ndarray) -> np.ndarray:
    """From 0 for the worst, by returns; the better half, whatever it did later, at the top."""
    kept = np.isin(np.arange(len(returns)), better)
    places = np.empty(len(returns))
    places[np.lexsort((returns, kept))] = np.arange(len(returns))
    return places
