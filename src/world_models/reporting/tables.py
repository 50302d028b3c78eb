"""Tables that hold variants of C against each other, and the paper's; and a chart's series."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from world_models.reporting.charts import Interval, Series
from world_models.reporting.paper import EPISODES
from world_models.runtime.scores import read_scores_file

WORLDS = {"dream": "in the dream", "real": "in the game"}


class Score(NamedTuple):
    """Returns of some episodes in one world."""

    mean: float
    std: float
    ci95: tuple[float, float]
    """Interval of the mean."""


class Row(NamedTuple):
    """One C of a comparison, with its scores by world."""

    name: str
    own: Mapping[str, Score]
    paper: Mapping[str, Score]
    """What the paper reports of it, if anything."""
    parameters: int | None = None


def read_summary(path: str | Path) -> dict[str, Score]:
    """Reads the scores in a scores.json, by world; raises ScoresError where they are missing or
    damaged."""
    return read_scores_file(path, _summary)


def _summary(text: str) -> dict[str, Score]:
    found = json.loads(text)
    return {world: score_of(found[world]) for world in WORLDS}


def score_of(summary: Mapping[str, Any]) -> Score:
    """Returns the score in a summary, as `evaluation.statistics` makes it."""
    return Score(summary["mean"], summary["std"], tuple(summary["ci95"]))


def reported(figures: Mapping[str, tuple[float, float]]) -> dict[str, Score]:
    """Returns the paper's means and deviations, with the interval that they make."""
    scores = {}
    for world, (mean, std) in figures.items():
        error = 1.96 * std / EPISODES**0.5
        scores[world] = Score(mean, std, (mean - error, mean + error))
    return scores


def figures(heading: str, row: Row) -> dict[str, object]:
    """Returns a row of the CSV file."""
    cells: dict[str, object] = {heading: row.name}
    if row.parameters is not None:
        cells["parameters"] = row.parameters
    for world, score in row.own.items():
        low, high = score.ci95
        own = {"mean": score.mean, "std": score.std, "ci95_low": low, "ci95_high": high}
        cells |= {f"{world}_{key}": value for key, value in own.items()}
    for world, score in row.paper.items():
        cells |= {f"paper_{world}_mean": score.mean, f"paper_{world}_std": score.std}
    return cells


def markdown(heading: str, rows: Sequence[Row]) -> str:
    """Returns the table in Markdown: mean ± standard deviation [95% interval of the mean]."""
    papers = [world for world in WORLDS if any(world in row.paper for row in rows)]
    columns = [heading]
    columns += ["parameters of C"] * (rows[0].parameters is not None)
    columns += [*WORLDS.values(), *(f"the paper's {WORLDS[world]}" for world in papers)]
    lines = []
    for row in rows:
        cells = [row.name]
        cells += [] if row.parameters is None else [f"{row.parameters:,}"]
        for world in WORLDS:
            cells.append(interval(row.own[world]))
        cells += [spread(row.paper[world]) if world in row.paper else "" for world in papers]
        lines.append(cells)
    return table(columns, lines)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def interval(score: Score) -> str:
    """Returns mean, deviation and the interval of the mean as text."""
    return f"{spread(score)} [{score.ci95[0]:.0f}, {score.ci95[1]:.0f}]"


def spread(score: Score) -> str:
    """Returns mean and deviation as text."""
    return f"{score.mean:.0f} ± {score.std:.0f}"


def series(rows: Sequence[Row]) -> list[Series]:
    """Returns what the chart shows: each world here, and the paper's where it reports it."""
    drawn = []
    for colour, (world, words) in enumerate(WORLDS.items()):
        for whose, scores in (
            ("here", [row.own.get(world) for row in rows]),
            ("paper", [row.paper.get(world) for row in rows]),
        ):
            if any(scores):
                means = [s and Interval(s.mean, *s.ci95) for s in scores]
                drawn.append(Series(f"{words}, {whose}", means, f"C{colour}", whose == "paper"))
    return drawn
