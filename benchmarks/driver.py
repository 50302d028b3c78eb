"""Time to a good driver: what each way to evolve CarRacing's C reaches, and when.

`python -m benchmarks.driver` evolves C on V and M of the last `dvc repro`, several times each way,
and writes docs/driver.csv and docs/pictures/driver.png. Validation is not on the clock.
"""

import argparse
import csv
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks import fixtures
from pipelines.controller import real_world
from world_models.config import ControllerConfig
from world_models.data.store import EpisodeStore
from world_models.evolution.centre import feature_mean
from world_models.evolution.fitness import Arena
from world_models.evolution.search import Validation, evolve
from world_models.files import made_whole
from world_models.models.checkpoint import feature_size, load_rnn, load_vae
from world_models.models.controller import Controllers, ControllerSizes
from world_models.seeds import VALIDATE
from world_models.tasks import get_task
from world_models.worlds.real import RealWorld

TASK = get_task("carracing")
WAYS: dict[str, dict[str, Any]] = {
    "24 candidates, 4 tracks": {"population": 24, "episodes": 4},
    "48 candidates, 2 tracks": {"population": 48, "episodes": 2},
    "48, 2 and a step of 0.15 that shrinks by 7%": {
        "population": 48,
        "episodes": 2,
        "sigma": 0.15,
        "sigma_decay": 0.93,
    },
}
"""What differs from params.yaml; a generation of each costs about the same."""
Row = dict[str, Any]
JUDGED = VALIDATE[1000:1040]
"""Episodes that a point of the curve is the mean of."""


def main() -> None:
    """Runs every way with every seed and draws what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.driver", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="searches each way")
    parser.add_argument("--table", type=Path, default=Path("docs/driver.csv"))
    parser.add_argument("--picture", type=Path, default=Path("docs/pictures/driver.png"))
    arguments = parser.parse_args()
    course, rows = Course(), list[Row]()
    for seed, way in product(range(1, arguments.seeds + 1), WAYS):
        for row in course.searched(way, seed):
            rows.append(row)
            print(*row.values(), sep="\t", flush=True)
            write(arguments.table, rows)
    draw(arguments.picture, rows)


class Course:
    """CarRacing through V and M of the last `dvc repro`, as the stage controller has it."""

    def __init__(self) -> None:
        self.config = fixtures.params(TASK.name).section(ControllerConfig)
        self.vae = load_vae(Path("models/carracing/vae.safetensors"))
        size = self.vae.sizes.latent_size
        self.rnn = load_rnn(Path("models/carracing/rnn.safetensors"), size, TASK.action_size)
        latents = EpisodeStore(Path("data/carracing/latents"))
        self.centre = feature_mean(latents, TASK, self.rnn, self.config.cell)
        self.sizes = ControllerSizes(
            feature_size(self.rnn.sizes, self.config.cell),
            TASK.action_size,
            self.config.bias,
            self.config.cell,
            self.config.sampled,
        )

    def arena(self, lanes: int, patience: int) -> Arena:
        """Games, cut off after `patience` steps without a reward over 0."""

        def game(count: int) -> RealWorld:
            return real_world(TASK, count, self.config, self.vae, self.rnn, patience)

        return Arena(game, lanes, self.vae.device)

    def searched(self, way: str, seed: int) -> Iterator[Row]:
        """A search; a row for each generation whose mean has been judged."""
        config = self.config.model_copy(update=WAYS[way])
        frames, judging, start = 0, 0.0, time.perf_counter()

        def judge(mean: Controllers) -> Validation:
            nonlocal judging
            begun = time.perf_counter()
            played = judges.score(mean, JUDGED)
            judging += time.perf_counter() - begun
            return Validation(played, played)

        with (
            closing(self.arena(config.population * config.episodes, config.patience)) as arena,
            closing(self.arena(len(JUDGED), 0)) as judges,
        ):
            for generation in evolve(arena, judge, self.sizes, config, seed, self.centre):
                frames += generation.steps
                if generation.validation is not None:
                    minutes = (time.perf_counter() - start - judging) / 60
                    yield {
                        "way": way,
                        "seed": seed,
                        "generation": generation.number,
                        "frames": frames,
                        "minutes": round(minutes, 2),
                        "score": round(generation.merit, 1),
                    }


def write(path: Path, rows: Sequence[Row]) -> None:
    """The table so far."""
    with made_whole(path) as aside, aside.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Score against minutes: a thin line for each search, a thick one for the mean of a way."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for number, way in enumerate(dict.fromkeys(row["way"] for row in rows)):
        own = [row for row in rows if row["way"] == way]
        searches = [
            [row for row in own if row["seed"] == seed]
            for seed in dict.fromkeys(row["seed"] for row in own)
        ]
        for points in searches:
            axes.plot(*columns(points), color=f"C{number}", linewidth=0.7, alpha=0.5)
        together = np.mean([columns(points) for points in searches], axis=0)
        axes.plot(*together, color=f"C{number}", linewidth=2.5, label=way)
    axes.set(xlabel="minutes of evolution", ylabel="CarRacing's return, mean of 40 episodes")
    axes.legend()
    with made_whole(path) as aside:
        figure.savefig(aside, format="png", dpi=120)


def columns(points: Sequence[Row]) -> tuple[list[float], list[float]]:
    """Minutes and scores."""
    return [point["minutes"] for point in points], [point["score"] for point in points]


if __name__ == "__main__":
    main()
