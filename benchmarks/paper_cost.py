"""What the scale `paper` would cost, out of what `make bench` measured.

`python -m benchmarks.paper_cost` reads rates from reports/bench.json, a GPU's from
reports/bench-h200.json, memory from reports/growth.json, the length of episodes from reports/ and
their bytes from dvc.lock. What it assumes, it prints.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from world_models.collecting.config import CollectConfig
from world_models.controller.config import ControllerConfig
from world_models.evaluation.config import EvaluateConfig
from world_models.params import Params
from world_models.rnn.config import RNNConfig
from world_models.runtime.errors import ConfigError, WorldModelsError
from world_models.tasks import get_task
from world_models.tasks.base import FRAME_SIZE
from world_models.vae.config import VAEConfig

GAMES = {"carracing": "CarRacing", "takecover": "TakeCover"}
"""Tasks, and their names in the table."""
DREAM_STEPS = {"carracing": 1000, "takecover": 900}
"""Of an episode in evolution: CarRacing's limit, the mean of TakeCover's in the authors' logs."""
TRAINING_SHARE = 0.5
"""Of 32 times the rate of 2 cores, in a training on 64."""
TEXTBOOK = "the textbook loop"
H200_CORES = 16
"""Beside the GPU of bench-h200.json."""

ASSUMED = f"""
2 cores: bench.json's rates, in the precision that it names (`paper` itself says 32-true). V and M
  take as long for a frame in any batch; training M takes what M's matrix products do. TakeCover's
  frames take as long without V and M as with them. Fidelity, pictures and, in CarRacing's official
  game, C and what surrounds V and M are left out.
64 cores: games, encoding, evolution 32 times as quick, trainings {32 * TRAINING_SHARE:.0f} times.
one H200: by the rates of bench-h200.json; what only the processor does in CarRacing, by those of
  the 2 cores, on {H200_CORES} of them.
CarRacing's official game is counted as played on all cores. With a GPU evolution has one process,
  in which its games take turns: several would have to share the GPU, which nothing does yet.
Memory: of 2 cores, growth.json's; collect's is a shard of the longest episodes, twice, in each of 2
  processes, and half as much again for each other process."""


class Seconds(NamedTuple):
    """Of each kind of work, one after the other."""

    games: float = 0
    inference: float = 0
    training: float = 0

    def times(self, units: float) -> "Seconds":
        """So often."""
        return Seconds(*(part * units for part in self))

    def plus(self, other: "Seconds") -> "Seconds":
        """And then the other."""
        return Seconds(*(one + more for one, more in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Cost:
    """Of a stage."""

    seconds: Seconds
    disk: float = 0
    """Bytes."""
    memory: float | None = None
    """Bytes; None where it was not measured."""


class Rates:
    """Seconds a unit, of a bench's rows; of two for the same the later counts."""

    def __init__(self, rows: list[Mapping[str, Any]], cores: int = 2) -> None:
        """`cores` play CarRacing's official game, whose row has one of the 2-core machine's."""
        self._rows = {(row["path"], row["against"]): row for row in rows}
        self._cores = cores

    def each(self, path: str, against: str, column: str = "rate") -> float:
        """Seconds a unit. Raises ConfigError where the row was not measured."""
        if (path, against) not in self._rows:
            raise ConfigError(f"no rate of {path!r} against {against!r}; run `make bench`")
        return 1 / float(self._rows[path, against][column])

    def game(self, task: str) -> Seconds:
        """A frame of the official game through V and M."""
        if task == "takecover":
            return Seconds(games=self.each("TakeCover, features", "its bare parts together"))
        return Seconds(
            games=self.each("CarRacing, official", "Gymnasium's own") / self._cores,
            inference=self.each("V and M, 64 frames", "eager float32"),
        )

    def collected(self, task: str) -> Seconds:
        """A frame of the random policy: in CarRacing V and M look at each by itself.

        At most the textbook loop, but for its game: that loop's V also draws each frame again.
        """
        if task == "takecover":
            return self.game(task)
        textbook = self.each("CarRacing, features", TEXTBOOK, "reference")
        own = self.each("CarRacing, official", "Gymnasium's own", "reference") / 2
        networks = max(textbook - own, 0) * 2 / self._cores
        return Seconds(games=self.game(task).games + networks)

    def dreamt(self, task: str) -> Seconds:
        """A step of the dream."""
        return Seconds(inference=self.each(f"{GAMES[task]}, dream", "its matrix products alone"))

    def products(self, task: str) -> float:
        """A step's matrix products."""
        return self.each(f"{GAMES[task]}, dream", "its matrix products alone", "reference")


@dataclass(frozen=True)
class Data:
    """A data set that was made: what its frames are like."""

    mean_length: float
    frame: float
    """Bytes of a stored frame."""
    latent: float
    """Bytes of its latent."""


class Machine(NamedTuple):
    """Rates, and how many times as quick as they are it is in each kind of work."""

    name: str
    rates: Rates
    games: float = 1
    inference: float = 1
    training: float = 1

    def hours(self, seconds: Seconds) -> float:
        """That it takes for what has so many seconds at these rates."""
        return sum(part / speed for part, speed in zip(seconds, self[2:], strict=True)) / 3600


def costs(task: str, params: Params, measured: Params, rates: Rates, data: Data) -> dict[str, Cost]:
    """The stages by `params`; `measured` has the batches that the bench trained V and M on."""
    collect, vae = params.section(CollectConfig), params.section(VAEConfig)
    rnn, controller = params.section(RNNConfig), params.section(ControllerConfig)
    frames = collect.episodes * data.mean_length
    shard = collect.shard_episodes * get_task(task).time_limit * FRAME_SIZE**2 * 3
    image = 1 / measured.section(VAEConfig).batch_size
    image *= rates.each("VAE training", "forward, backward, step alone")
    step = 1 / (measured.section(RNNConfig).lanes * measured.section(RNNConfig).steps)
    step *= rates.each("M training", "forward, backward, step alone")
    step *= rates.products(task) / rates.products("carracing")
    encoded = rates.each("encoding from the store", "the encoder alone")
    played = DREAM_STEPS[task]
    rounds = -(-controller.generations // controller.validate_every)
    real = sum(map(controller.is_real, range(1, controller.generations + 1)))
    steps = controller.population * controller.episodes * played
    validation = rates.game(task).plus(rates.dreamt(task))
    evolution = (
        rates.game(task)
        .times(real * steps)
        .plus(rates.dreamt(task).times((controller.generations - real) * steps))
        .plus(validation.times(rounds * controller.validation_episodes * played))
    )
    scored = params.section(EvaluateConfig).episodes * played
    return {
        "collect": Cost(rates.collected(task).times(frames), frames * data.frame, 2 * 2 * shard),
        "vae": Cost(Seconds(training=image * vae.batches * vae.batch_size)),
        "encode": Cost(Seconds(inference=encoded).times(frames), frames * data.latent),
        "rnn": Cost(Seconds(training=step * rnn.batches * rnn.lanes * rnn.steps)),
        "controller": Cost(evolution),
        "evaluate": Cost(validation.times(scored)),
    }


def machines(cores: Rates, card: Rates) -> list[Machine]:
    """2 cores, 64 cores, one H200."""
    return [
        Machine("2 cores", cores),
        Machine("64 cores", cores, 32, 32, 32 * TRAINING_SHARE),
        Machine("one H200", card),
    ]


def main() -> None:
    """Prints a table for each task, and what it rests on."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper_cost", description=__doc__)
    parser.add_argument("--bench", type=Path, default=Path("reports/bench.json"))
    parser.add_argument("--gpu", type=Path, default=Path("reports/bench-h200.json"))
    arguments = parser.parse_args()
    try:
        rows = _json(arguments.bench, "make bench")["rows"]
        gpu_rows = _json(arguments.gpu, f"python -m benchmarks --output {arguments.gpu}")["rows"]
        gpu_rows = [row for row in gpu_rows if row["against"] != TEXTBOOK]
        columns = machines(Rates(rows), Rates(rows + gpu_rows, H200_CORES))
        growth = _json(Path("reports/growth.json"), "python -m benchmarks.growth")["stages"]
        for task in GAMES:
            paper = Params(Path("params.yaml"), task, "paper")
            measured, data = Params(paper.path, "carracing"), _data(task)
            stages = [costs(task, paper, measured, machine.rates, data) for machine in columns]
            _print(task, stages, growth, columns)
    except WorldModelsError as error:
        sys.exit(f"paper: {error}")
    print(ASSUMED)


def _print(
    task: str, stages: list[dict[str, Cost]], growth: Mapping[str, Any], columns: list[Machine]
) -> None:
    """Each machine has stages of its own; disk and memory are the first one's."""
    names = "".join(f"{f'h, {machine.name}':>14}" for machine in columns)
    print(f"\n{task:12}{'disk GB':>10}{'memory MB':>12}{names}")
    hours = [
        {stage: machine.hours(cost.seconds) for stage, cost in costs_there.items()}
        for machine, costs_there in zip(columns, stages, strict=True)
    ]
    for stage, cost in stages[0].items():
        memory = cost.memory / 1e6 if cost.memory else growth[stage]["megabytes"][1]
        print(_line(stage, cost.disk, f"{memory:.0f}", [column[stage] for column in hours]))
    disk = sum(cost.disk for cost in stages[0].values())
    print(_line("together", disk, "", [sum(column.values()) for column in hours]))


def _line(name: str, disk: float, memory: str, hours: list[float]) -> str:
    shown = "".join(f"{value:14,.2f}" for value in hours)
    return f"{name:12}{disk / 1e9:10.1f}{memory:>12}{shown}"


def _data(task: str) -> Data:
    """Of the data set whose figures are in git."""
    made = _json(Path("reports") / task / "collect.json", f"dvc repro collect@{task}")
    frames = made["steps"] + made["episodes"]
    stages = yaml.safe_load(Path("dvc.lock").read_text())["stages"]
    size = {out["path"]: out["size"] for stage in stages.values() for out in stage["outs"]}
    episodes, latents = (size[f"data/{task}/{kind}"] for kind in ("episodes", "latents"))
    return Data(made["mean_length"], episodes / frames, latents / frames)


def _json(path: Path, remedy: str) -> Any:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; `{remedy}` writes it")
    return json.loads(path.read_text())


if __name__ == "__main__":
    main()
