"""Is this score worse than the baseline's, and how sure are we?"""

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from world_models.evaluation.statistics import bootstrap_interval
from world_models.runtime.errors import ConfigError
from world_models.runtime.files import atomic_write
from world_models.runtime.scores import read_scores_file

CONFIDENCE = 0.95
FEWEST = 10
"""Episodes under which a bootstrap says little, whatever its interval."""


class Verdict(IntEnum):
    """What the gate found; its value is the command's exit code."""

    NO_WORSE = 0
    WORSE = 1
    UNCLEAR = 2


@dataclass(frozen=True)
class Scores:
    """An agent's returns in the real game."""

    protocol: Mapping[str, Any]
    """Scale, environment and time limit: what has to be equal for scores to be comparable."""
    returns: Mapping[int, float]
    """By seed."""

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(list(self.returns.values())))


@dataclass(frozen=True)
class Baseline:
    """What scores are held against."""

    scores: Scores
    tolerance: float
    """By how many points of mean return a score may be lower."""


@dataclass(frozen=True)
class Judgement:
    """What came of holding scores against a baseline."""

    verdict: Verdict
    reason: str
    was: float = math.nan
    """The baseline's mean return."""
    now: float = math.nan
    """Mean return over the same seeds."""
    low: float = math.nan
    """The change of the mean is above this with 95% confidence ..."""
    high: float = math.nan
    """... and below this."""


def gate(reports: str | Path, baselines: str | Path, round_: str) -> Judgement:
    """Holds a round's scores against its baseline.

    Raises ScoresError where either is missing or damaged.
    """
    return judge(read_baseline(Path(baselines, f"{round_}.json")), read_scores(reports, round_))


def update(
    reports: str | Path, baselines: str | Path, round_: str, tolerance: float | None
) -> None:
    """Makes a round's scores its baseline.

    Without a tolerance it keeps the one that it has, or gets the usual one. Raises ScoresError
    where there are no scores, ConfigError where they are of too few episodes.
    """
    path, scores = Path(baselines, f"{round_}.json"), read_scores(reports, round_)
    if fault := too_few(scores):
        raise ConfigError(f"evaluate.episodes: {fault} for a baseline")
    if tolerance is None:
        tolerance = read_baseline(path).tolerance if path.exists() else usual_tolerance(scores)
    write_baseline(path, Baseline(scores, tolerance))


def judge(baseline: Baseline, scores: Scores) -> Judgement:
    """Compares the mean returns by a paired bootstrap over the seeds.

    Worse: with 95% confidence the mean has fallen by more than the tolerance. Unclear: the scores
    are not comparable, or so few or so scattered that a fall by the tolerance could not be told
    from none. Otherwise no worse.
    """
    obstacle = _obstacle(baseline.scores, scores)
    if obstacle:
        return Judgement(Verdict.UNCLEAR, obstacle)
    changes = np.array([scores.returns[s] - was for s, was in baseline.scores.returns.items()])
    change, (low, high) = float(changes.mean()), bounds(changes)
    figures = baseline.scores.mean, scores.mean, low, high
    margin = max(change - low, high - change)
    if high < -baseline.tolerance:
        verdict, reason = Verdict.WORSE, f"worse by more than {baseline.tolerance:g}"
    elif margin > baseline.tolerance:
        verdict = Verdict.UNCLEAR
        enough = math.ceil(len(changes) * (margin / baseline.tolerance) ** 2)
        reason = (
            f"too few episodes: {len(changes)} tell the change to within {margin:.0f}, and "
            f"{baseline.tolerance:g} is tolerated; it takes about {enough}"
        )
    else:
        verdict, reason = Verdict.NO_WORSE, f"not worse by more than {baseline.tolerance:g}"
    return Judgement(verdict, reason, *figures)


def _obstacle(baseline: Scores, scores: Scores) -> str:
    for key in sorted({*baseline.protocol, *scores.protocol}):
        was, now = (one.protocol.get(key, "unknown") for one in (baseline, scores))
        if was != now:
            return f"other {key.replace('_', ' ')}: {now}, and the baseline's is {was}"
    if baseline.returns.keys() != scores.returns.keys():
        missing = len(baseline.returns.keys() - scores.returns.keys())
        new = len(scores.returns.keys() - baseline.returns.keys())
        was = len(baseline.returns)
        return (
            f"other seeds: {missing} of the baseline's {was} were not played, and {new} others were"
        )
    return too_few(scores)


def too_few(scores: Scores) -> str:
    """Returns what is said of scores of under FEWEST episodes, and nothing of others."""
    if len(scores.returns) >= FEWEST:
        return ""
    return f"too few episodes: {len(scores.returns)}; {FEWEST} are the least"


def bounds(changes: np.ndarray) -> tuple[float, float]:
    """Returns two bounds of the mean of changes (episodes,).

    With 95% confidence it is above the first, and with 95% below the other.

    By percentiles of a bootstrap, the same at each call.
    """
    return bootstrap_interval(changes, 2 * CONFIDENCE - 1)


def usual_tolerance(scores: Scores) -> int:
    """Returns the tolerance that so many episodes can keep: twice an equal agent's margin.

    As if two agents' luck were unrelated, so that a fall by twice the tolerance is hardly missed.
    It is 1 where no two returns differ.
    """
    returns = np.array(list(scores.returns.values()))
    error = returns.std(ddof=1) * math.sqrt(2 / len(returns))
    return max(1, math.ceil(2 * NormalDist().inv_cdf(CONFIDENCE) * error))


def read_scores(reports: str | Path, round_: str) -> Scores:
    """Reads a round's scores; raises ScoresError where they are missing or damaged."""
    folder = Path(reports, round_)
    protocol = read_scores_file(
        folder / "scores.json", lambda text: dict(json.loads(text)["protocol"])
    )
    returns = read_scores_file(folder / "returns.csv", _real_returns)
    return Scores(protocol, returns)


def read_baseline(path: str | Path) -> Baseline:
    """Reads a baseline; raises ScoresError where it is missing or damaged."""
    return read_scores_file(path, _baseline)


def write_baseline(path: str | Path, baseline: Baseline) -> None:
    """Writes a baseline, with the return of each seed."""
    contents = asdict(baseline.scores) | {
        "mean": round(baseline.scores.mean, 2),
        "tolerance": baseline.tolerance,
    }
    with atomic_write(path) as aside:
        aside.write_text(json.dumps(contents, indent=2, sort_keys=True) + "\n")


def _baseline(text: str) -> Baseline:
    contents = json.loads(text)
    if not contents["tolerance"] > 0:
        raise ValueError(f"tolerance {contents['tolerance']}")
    scores = Scores(dict(contents["protocol"]), _finite(contents["returns"].items()))
    return Baseline(scores, float(contents["tolerance"]))


def _real_returns(text: str) -> dict[int, float]:
    return _finite((row["seed"], row["real"]) for row in csv.DictReader(text.splitlines()))


def _finite(returns: Iterable[tuple[str, str | float]]) -> dict[int, float]:
    found = {int(seed): float(value) for seed, value in returns}
    if not all(map(math.isfinite, found.values())):
        raise ValueError("a return that is no number")
    return found
