"""Time to a good driver: what each way to evolve CarRacing's C reaches, and when.

`python -m benchmarks.driver` evolves C on V and M of the last `dvc repro`, several times each way,
and writes docs/driver.csv and docs/pictures/driver.png. Validation is not on the clock.
"""

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks import fixtures
from pipelines.search_context import SearchContext, controller_sizes
from world_models.controller.centring import feature_mean
from world_models.controller.config import ControllerConfig
from world_models.controller.evaluator import ParallelEvaluator
from world_models.controller.policy import Controllers
from world_models.controller.search import Validation, evolve
from world_models.data.seeds import VALIDATE
from world_models.data.store import EpisodeStore
from world_models.reporting.charts import save_figure
from world_models.rnn.checkpoint import load_rnn
from world_models.rnn.inference import rnn_for_inference
from world_models.runtime.devices import best_device
from world_models.runtime.errors import WorldModelsError
from world_models.runtime.files import atomic_write
from world_models.runtime.precision import weights_dtype
from world_models.tasks import get_task
from world_models.vae.checkpoint import load_vae
from world_models.vae.inference import vae_for_inference
from world_models.vae.starts import load_starts
from world_models.worlds.config import DreamConfig
from world_models.worlds.dream import DreamFactory

TASK = get_task("carracing")
PLAIN = {
    "generations": 100,
    "train_in": "real",
    "real_generations": 0,
    "population": 48,
    "episodes": 2,
    "more_episodes": 0,
    "sigma": 0.1,
    "sigma_decay": 1.0,
    "diagonal": True,
    "warm_start": None,
    "patience": 80,
    "validate_every": 4,
}
"""What each way differs from: 48 candidates on two tracks each."""
WAYS: dict[str, dict[str, Any]] = {
    "48 candidates x 2 tracks": {},
    "nobody is cut off": {"patience": 0, "validate_every": 1},
    "covariances too": {"diagonal": False},
    "large steps first": {"sigma": 0.15, "sigma_decay": 0.93},
    "1 track, in generation 10 3": {"episodes": 1, "more_episodes": 2, "generations": 10},
    "the dream first, 8 generations": {"train_in": "dream-then-real", "real_generations": 92},
}
Row = dict[str, Any]
JUDGED = VALIDATE[1000:1024]
"""Episodes that a point of a search's curve is the mean of."""


def main() -> None:
    """Runs every way with every seed and draws what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.driver", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="searches each way")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--minutes", type=float, default=3, help="of evolution, each search")
    parser.add_argument("--table", type=Path, default=Path("docs/driver.csv"))
    parser.add_argument("--picture", type=Path, default=Path("docs/pictures/driver.png"))
    arguments = parser.parse_args()
    try:
        course, rows = Course(), list[Row]()
    except WorldModelsError as error:
        sys.exit(f"driver: {error}")
    for seed, way in product(range(1, arguments.seeds + 1), arguments.ways):
        for row in course.searched(way, seed, arguments.minutes):
            rows.append(row)
            print(*row.values(), sep="\t", flush=True)
            write(arguments.table, rows)
    draw(arguments.picture, rows)


class Course:
    """CarRacing through V and M of the last `dvc repro`, as the stage controller has it."""

    def __init__(self) -> None:
        params = fixtures.params(TASK.name)
        self.config = params.section(ControllerConfig)
        dream = params.section(DreamConfig)
        place = best_device(), weights_dtype(self.config.precision)
        vae = vae_for_inference(load_vae(Path("models/carracing/vae.safetensors")), *place)
        size = vae.sizes.latent_size
        file = Path("models/carracing/rnn.safetensors")
        rnn = rnn_for_inference(load_rnn(file, size, TASK.action_size), *place)
        latents = EpisodeStore(Path("data/carracing/latents"))
        starts = load_starts(Path("models/carracing/starts.safetensors"), size)
        dreams = DreamFactory(TASK, rnn, rnn, starts, dream, self.config.cell)
        sizes = controller_sizes(self.config, dream, rnn, TASK)
        centre = feature_mean(latents, TASK, rnn, self.config.cell)[: sizes.feature_size]
        self.search = SearchContext(TASK, self.config, vae, rnn, sizes, centre, None, [dreams])

    def searched(self, way: str, seed: int, limit: float) -> Iterator[Row]:
        """A search of so many minutes; a row for each generation whose mean has been judged."""
        config = self.config.model_copy(update=PLAIN | WAYS[way])
        search = replace(self.search, config=config)
        frames, judging, start = 0, 0.0, time.perf_counter()

        def judge(mean: Controllers) -> Validation:
            nonlocal judging
            begun = time.perf_counter()
            played = judges.evaluate(mean, JUDGED)
            judging += time.perf_counter() - begun
            return Validation(played, played)

        with closing(search.open_pool()) as pool:
            evaluators = search.evaluators(pool)
            judges = ParallelEvaluator(search.open_real_world, len(JUDGED), config.batches, pool)
            for generation in evolve(evaluators, judge, search.sizes, config, seed, search.centre):
                frames += generation.steps * config.is_real(generation.number)
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
                    if minutes > limit:
                        return


def write(path: Path, rows: Sequence[Row]) -> None:
    """The table so far."""
    with atomic_write(path) as aside, aside.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Score against minutes: a thin line for each search, a thick one for the mean of a way."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for number, way in enumerate(dict.fromkeys(row["way"] for row in rows)):
        own = [row for row in rows if row["way"] == way]
        searches = [
            [row for row in own if row["seed"] == seed]
            for seed in dict.fromkeys(row["seed"] for row in own)
        ]
        for points in searches:
            axes.plot(*columns(points), color=f"C{number}", linewidth=0.7, alpha=0.5)
        axes.plot(*mean_curve(searches), color=f"C{number}", linewidth=2.5, label=way)
    axes.set(xlabel="minutes of evolution", ylabel="CarRacing's return of the search's mean")
    figure.legend(loc="outside lower center", ncols=2)
    save_figure(path, figure)


def mean_curve(searches: Sequence[Sequence[Row]]) -> tuple[np.ndarray, np.ndarray]:
    """Minutes that all searches have been judged around, and the mean of their scores there."""
    curves = [columns(points) for points in searches]
    begun, ended = (
        max(minutes[0] for minutes, _ in curves),
        min(minutes[-1] for minutes, _ in curves),
    )
    every = np.linspace(begun, ended, 50)
    return every, np.mean([np.interp(every, *curve) for curve in curves], axis=0)


def columns(points: Sequence[Row]) -> tuple[list[float], list[float]]:
    """Minutes and scores."""
    return [point["minutes"] for point in points], [point["score"] for point in points]


if __name__ == "__main__":
    main()
