"""What is kept of a generation, so that a search that was killed needn't play it again."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from world_models.worlds.rollout import Played


class Population(NamedTuple):
    """How the candidates of a generation did."""

    returns: np.ndarray
    """Mean return of each over its episodes (P,)."""
    steps: int
    """Steps played by all of them."""


def to_record(
    population: Population, validated: Sequence[Played] | None, at: float
) -> dict[str, Any]:
    """Makes a journal's record of how a generation did, its mean on the validation seeds too."""
    return {
        "at": at,
        "population": _plain(population),
        "validated": None if validated is None else [_plain(played) for played in validated],
    }


def from_record(record: dict[str, Any]) -> tuple[Population, list[Played] | None, float]:
    """Returns the same again, to the last bit, and when it was, in seconds since 1970."""
    population, validated = record["population"], record["validated"]
    return (
        Population(np.asarray(population["returns"]), population["steps"]),
        None if validated is None else [Played(**_arrays(played)) for played in validated],
        record["at"],
    )


def _plain(figures: Population | Played) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in figures._asdict().items()
    }


def _arrays(lists: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(values) for name, values in lists.items()}
