"""Charts of scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib import style
from matplotlib.figure import Figure

from world_models.runtime.files import atomic_write

plain_style = style.context("default")
"""Matplotlib's own style within a function, whatever a user's matplotlibrc says for other work."""
WIDTH = 0.12
"""Between series at one place, where places are 1 apart."""


class Interval(NamedTuple):
    """A mean, and where it may lie."""

    mean: float
    low: float
    high: float


class Series(NamedTuple):
    """Means of one kind, from place to place."""

    label: str
    means: Sequence[Interval | None]
    """One for each place; None where there is none."""
    colour: str
    hollow: bool
    """Drawn hollow and dashed: somebody else's."""


@plain_style
def save_chart(
    path: str | Path, heading: str, places: Sequence[str], drawn: Sequence[Series]
) -> None:
    """Writes a PNG of returns at named places, from left to right, with intervals as bars."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, series in enumerate(drawn):
        offset = WIDTH * (number - (len(drawn) - 1) / 2)
        at = [place + offset for place, found in enumerate(series.means) if found]
        means = [found for found in series.means if found]
        axes.errorbar(
            at,
            [found.mean for found in means],
            yerr=[
                [found.mean - found.low for found in means],
                [found.high - found.mean for found in means],
            ],
            label=series.label,
            color=series.colour,
            marker="o",
            markerfacecolor="white" if series.hollow else series.colour,
            linestyle="--" if series.hollow else "-",
            linewidth=1,
            capsize=3,
        )
    axes.set_xticks(range(len(places)), places)
    axes.set(xlabel=heading, ylabel="return, mean and its 95% interval")
    axes.legend()
    save_figure(path, figure)


def save_figure(path: str | Path, figure: Figure) -> None:
    """Writes a figure as a PNG, or nothing."""
    with atomic_write(path) as aside:
        figure.savefig(aside, format="png", dpi=120)
