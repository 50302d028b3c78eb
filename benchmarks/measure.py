"""Rates as ratios: a path and its reference take turns, so that a noisy machine slows both."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import torch

Name = TypeVar("Name", bound=str)


class Rated(Protocol):
    """Something whose rate can be measured, again and again."""

    def rate(self, seconds: float) -> float:
        """Units a second, over about as long."""


def nothing() -> None:
    """What needs no preparing."""


def synchronize() -> None:
    """Waits until a GPU has done all that it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Work:
    """Work in pieces."""

    run: Callable[[], int]
    """Does a piece; returns how many units that was."""
    prepare: Callable[[], None] = nothing
    """Called before each piece; takes no measured time."""

    def rate(self, seconds: float) -> float:
        """Units a second, over one piece at least."""
        done, passed = 0, 0.0
        while True:
            self.prepare()
            synchronize()
            start = time.perf_counter()
            done += self.run()
            synchronize()
            passed += time.perf_counter() - start
            if passed >= seconds:
                return done / passed


@dataclass(frozen=True)
class Effort:
    """How long and how often to measure."""

    seconds: float
    """Of each measurement."""
    rounds: int
    """In each of them everything has its turn."""


class Measured(NamedTuple):
    """What came of one row of the table."""

    rate: float
    """Units a second of the path, median over the rounds."""
    reference: float
    """The same of what it is held against."""
    ratio: float
    """Median of the rounds' own ratios."""
    precision: str | None
    """That the path's networks compute in; None without networks."""


def compare(
    path: Rated, parts: Sequence[Rated], effort: Effort, precision: str | None = None
) -> Measured:
    """Measures a path against the rate that its parts allow, one after the other.

    Parts with rates a and b allow 1 / (1 / a + 1 / b). All have been warmed up by a short turn.
    """
    works = [path, *parts]
    for work in works:
        work.rate(0)
    rates = [[work.rate(effort.seconds) for work in works] for _ in range(effort.rounds)]
    own = [first for first, *_ in rates]
    together = [1 / sum(1 / part for part in rest) for _, *rest in rates]
    ratios = [ours / theirs for ours, theirs in zip(own, together, strict=True)]
    rate, reference, ratio = (statistics.median(values) for values in (own, together, ratios))
    return Measured(rate, reference, ratio, precision)


def quickest(choices: Mapping[Name, Rated], seconds: float) -> Name:
    """The name of the one that is done at the highest rate; the best of three turns counts.

    Others on the machine only ever slow a turn.
    """
    for one in choices.values():
        one.rate(0)
    turns = [{name: one.rate(seconds) for name, one in choices.items()} for _ in range(3)]
    return max(choices, key=lambda name: max(turn[name] for turn in turns))


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    path: str
    against: str
    unit: str
    at_least: float
    """The ratio that is to be reached on 2 cores."""
    measure: Callable[[Effort], Measured]
