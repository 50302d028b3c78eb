"""Runs that were kept, a folder each: SCALE/ROUND/seed-N."""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from world_models.reporting.tables import Score, read_summary, score_of
from world_models.runtime.scores import read_scores_file

RUN = "run.json"
"""What a kept run was, and how long it took."""
SWEEPS = ("temperature", "inputs")
"""The paper's sweeps; a kept run has the table of those that were run with V and M of
its task's first round."""


@dataclass(frozen=True)
class KeptRun:
    """One run of a round, as it was kept."""

    scale: str
    task: str
    round: str
    seed: int
    seconds: Mapping[str, float]
    """How long each stage took, by its name: `vae@carracing`."""
    precision: str
    """What V and M were trained in: bfloat16 or float32."""
    revision: str
    """The commit that its last stage was run with."""
    machine: str
    """What its stages ran on; empty where that was not noted."""
    scores: Mapping[str, Score]
    """By world: `real`, `dream`."""
    returns: np.ndarray
    """The return of each held-out episode in the game (episodes,)."""
    steps: np.ndarray
    """Steps that the search had played when its mean was validated (validations,)."""
    validated: np.ndarray
    """Mean returns in the game on validation seeds (validations,)."""
    sweeps: Mapping[str, str]
    """Tables in Markdown, by sweep."""

    @property
    def minutes(self) -> float:
        """How long all its stages took together."""
        return sum(self.seconds.values()) / 60


@dataclass(frozen=True)
class PPORun:
    """What PPO reached in the same game, as `python -m benchmarks.ppo` has measured it."""

    task: str
    minutes: float
    """How long it was trained."""
    steps: int
    """Steps of the game that it was trained on."""
    score: Score
    """In the game."""
    episodes: int


def kept_runs(folder: str | Path) -> list[KeptRun]:
    """Reads every kept run in a folder, by scale, round and seed.

    Raises ScoresError where a file of one is missing or damaged.
    """
    runs = [read_run(kept) for kept in Path(folder).glob("*/*/seed-*")]
    return sorted(runs, key=lambda run: (run.scale, run.round, run.seed))


def ppo_runs(folder: str | Path) -> list[PPORun]:
    """Reads the runs of PPO in the folder of kept runs, by task.

    Raises ScoresError where a file of one is damaged.
    """
    return [read_scores_file(file, _ppo) for file in sorted(Path(folder).glob("ppo/*/scores.json"))]


def read_run(folder: Path) -> KeptRun:
    """Reads one; raises ScoresError where a file of it is missing or damaged."""
    described = read_description(folder)
    *_, last = described["stages"].values()
    steps, validated = read_scores_file(folder / "generations.csv", _learned)
    return KeptRun(
        scale=described["scale"],
        task=described["task"],
        round=described["round"],
        seed=described["seed"],
        seconds={name: stage["seconds"] for name, stage in described["stages"].items()},
        precision=last["precision"],
        revision=last["revision"],
        machine=_machines(described["stages"].values()),
        scores=read_summary(folder / "scores.json"),
        returns=read_scores_file(folder / "returns.csv", _returns),
        steps=steps,
        validated=validated,
        sweeps={name: read_scores_file(file, str) for name, file in _sweeps(folder).items()},
    )


def _machines(stages: Iterable[Mapping[str, str]]) -> str:
    return "; ".join(sorted({stage.get("machine", "") for stage in stages} - {""}))


def _sweeps(folder: Path) -> dict[str, Path]:
    files = {name: folder / f"{name}.md" for name in SWEEPS}
    return {name: file for name, file in files.items() if file.exists()}


def read_description(folder: Path) -> dict[str, Any]:
    """Reads what a kept run was; raises ScoresError where that is missing or damaged."""
    return read_scores_file(folder / RUN, _description)


def _description(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    for key in ("scale", "task", "round", "seed"):
        found[key]
    if not [stage["seconds"] + 0 for stage in found["stages"].values()]:
        raise ValueError("no stages")
    for stage in found["stages"].values():
        stage["revision"], stage["precision"]
    return found


def _ppo(text: str) -> PPORun:
    found = json.loads(text)
    return PPORun(
        task=found["task"],
        minutes=float(found["minutes"]),
        steps=int(found["steps"]),
        score=score_of(found["real"]),
        episodes=int(found["real"]["episodes"]),
    )


def _returns(text: str) -> np.ndarray:
    return np.array([float(row["real"]) for row in csv.DictReader(text.splitlines())])


def _learned(text: str) -> tuple[np.ndarray, np.ndarray]:
    generations = list(csv.DictReader(text.splitlines()))
    steps = np.cumsum([float(row["steps"]) for row in generations])
    due = [number for number, row in enumerate(generations) if row["real_mean"]]
    return steps[due], np.array([float(generations[number]["real_mean"]) for number in due])
