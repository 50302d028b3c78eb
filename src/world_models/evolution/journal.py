"""What is kept of a generation, so that a search that was killed needn't play it again."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from world_models.evolution.racing import Race
from world_models.worlds.rollout import Played


def to_record(raced: Race, judged: Sequence[Played] | None, at: float) -> dict[str, Any]:
    """How a generation did, its mean on the validation seeds too, and when: for a journal."""
    return {
        "at": at,
        "race": _plain(raced),
        "judged": None if judged is None else [_plain(played) for played in judged],
    }


def from_record(record: dict[str, Any]) -> tuple[Race, list[Played] | None, float]:
    """The same again, to the last bit."""
    race, judged = record["race"], record["judged"]
    return (
        Race(np.asarray(race["returns"]), np.asarray(race["fitness"]), race["steps"]),
        None if judged is None else [Played(**_arrays(played)) for played in judged],
        record["at"],
    )


def _plain(figures: Race | Played) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in figures._asdict().items()
    }


def _arrays(lists: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(values) for name, values in lists.items()}
