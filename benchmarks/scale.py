"""Evolution on thousands of cores, simulated from what is measured on two.

`python -m benchmarks.scale measure` measures the parts of a generation on this machine, by the
processor's time, and writes reports/scale.json. `check` holds the simulation against workers of a
Ray on this machine that sleep as long as batches last, also over a slow network. Without a word it
prints what a generation of `paper` takes on more and more cores, what moves the knee, and draws
docs/pictures/scale.png.
"""

import argparse
import heapq
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks import fixtures
from benchmarks.worlds import SKIPPED, Playing, real_game
from world_models.controller.config import ControllerConfig
from world_models.controller.strategy import CMAES
from world_models.params import Params
from world_models.runtime.files import atomic_write
from world_models.runtime.processes import OnRay, Pool
from world_models.tasks import get_task
from world_models.worlds.base import World
from world_models.worlds.config import DreamConfig
from world_models.worlds.dream import DreamFactory

MEASURED = Path("reports/scale.json")
PICTURE = Path("docs/pictures/scale.png")
PARAMETERS = {"carracing": 867, "takecover": 1088}
STEPS = {"carracing": 1000, "takecover": 900}
"""Of an episode, as in `paper_cost`."""
LANES = (1, 4, 16, 64)
POPULATIONS = (64, 1_000, 10_000)
CORES = (1, 4, 16, 64, 256, 1_024, 4_096, 10_000)
RESULT = 1_000
"""Bytes of a job and its answer, beside the controllers."""
SPREAD = 0.1
"""Deviation of a batch's duration, as a share of it, where nothing else was measured."""


@dataclass(frozen=True)
class Cluster:
    """What work on a cluster costs, beside the work."""

    task_s: float
    """The driver's time for a job: it hands out one at a time."""
    latency_s: float = 0.001
    """From an answer until the next job begins."""
    bytes_a_s: float = 1.25e9
    """The driver's network: 10 Gbit/s."""


@dataclass(frozen=True)
class Generation:
    """A generation to be played: so many episodes, in batches of one size."""

    population: int
    episodes: int
    batches: int
    parameters: int
    step_s: dict[int, float]
    """A core's time for a step of so many lanes."""
    steps: int
    spread: float = SPREAD
    strategy_s: float = 0.0
    """CMA-ES's own time."""

    @property
    def lanes(self) -> float:
        """Episodes in a batch."""
        return self.population * self.episodes / self.batches

    @property
    def batch_s(self) -> float:
        """A batch's mean duration."""
        known = sorted(self.step_s)
        return self.steps * float(np.interp(self.lanes, known, [self.step_s[n] for n in known]))

    @property
    def batch_bytes(self) -> float:
        """What is sent for a batch."""
        return 4 * self.parameters * max(1, self.population / self.batches) + RESULT


def makespan(durations: Sequence[float], cores: int, cluster: Cluster, sent: float) -> float:
    """Returns when the last job is done, each begun as soon as a core and the driver are free."""
    free, driver, end = [0.0] * min(cores, len(durations)), 0.0, 0.0
    for duration in durations:
        driver = max(driver, heapq.heappop(free)) + cluster.task_s + sent / cluster.bytes_a_s
        done = driver + cluster.latency_s + duration
        heapq.heappush(free, done)
        end = max(end, done)
    return end


def simulated(generation: Generation, cores: int, cluster: Cluster) -> float:
    """Returns the seconds of a generation, CMA-ES's own included."""
    drawn = lognormal(generation.batch_s, generation.spread, generation.batches)
    return makespan(drawn, cores, cluster, generation.batch_bytes) + generation.strategy_s


def lognormal(mean: float, spread: float, count: int) -> list[float]:
    """Durations, the same at each call."""
    variance = np.log1p(spread**2)
    random = np.random.default_rng(0)
    drawn: list[float] = random.lognormal(-variance / 2, variance**0.5, count).tolist()
    return [mean * one for one in drawn]


def efficiency(generation: Generation, cores: int, cluster: Cluster) -> float:
    """Returns how much of the cores' time is spent in batches."""
    work = generation.batches * generation.batch_s
    return work / (cores * simulated(generation, cores, cluster))


def asynchronous(generation: Generation, cores: int, cluster: Cluster) -> float:
    """Returns the same without generations: nobody waits for the last batch, nor for CMA-ES."""
    a_job = cluster.task_s + generation.batch_bytes / cluster.bytes_a_s
    alone = generation.batch_s / (generation.batch_s + cluster.latency_s + a_job)
    return min(alone, generation.batch_s / (cores * a_job))


def of_paper(task: str, measured: dict[str, Any], batches: int, diagonal: bool) -> Generation:
    """Returns the paper's generation."""
    config = Params(Path("params.yaml"), task, "paper").section(ControllerConfig)
    kind = "diagonal" if diagonal else "full"
    return Generation(
        config.population,
        config.episodes,
        batches,
        PARAMETERS[task],
        {int(lanes): seconds for lanes, seconds in measured["step_s"][task].items()},
        STEPS[task],
        strategy_s=measured["strategy_s"][str(PARAMETERS[task])][kind][str(config.population)],
    )


def larger(
    generation: Generation, population: int, measured: dict[str, Any], kind: str
) -> Generation:
    """Returns the same with more candidates, each a batch."""
    times = measured["strategy_s"][str(generation.parameters)][kind]
    strategy_s = times[str(population)]
    return replace(generation, population=population, batches=population, strategy_s=strategy_s)


def ways(task: str, measured: dict[str, Any]) -> dict[str, Generation]:
    """Returns generations that the same cores could play."""
    paper = partial(of_paper, task, measured, diagonal=False)
    return {
        "64 batches of 16 episodes": paper(64),
        "1,024 batches of 1 episode": paper(1_024),
        "10,000 candidates": larger(paper(64), 10_000, measured, "full"),
        "10,000 candidates, variances only": larger(paper(64), 10_000, measured, "diagonal"),
    }


def show(measured: dict[str, Any]) -> None:
    """Prints the tables, and draws them."""
    cluster = Cluster(measured["task_s"])
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, task in zip(figure.subplots(1, 2, sharey=True), PARAMETERS, strict=True):
        config = Params(Path("params.yaml"), task, "paper").section(ControllerConfig)
        print(f"\n{task}: efficiency by cores (a generation's seconds)")
        print(f"{'':36}" + "".join(f"{cores:>16,}" for cores in CORES))
        for name, generation in ways(task, measured).items():
            shares = [efficiency(generation, cores, cluster) for cores in CORES]
            seconds = [simulated(generation, cores, cluster) for cores in CORES]
            cells = [f"{e:.2f} ({s:,.1f})" for e, s in zip(shares, seconds, strict=True)]
            print(f"{name:36}" + "".join(f"{cell:>16}" for cell in cells))
            axes.semilogx(CORES, shares, label=name)
        one = of_paper(task, measured, 1_024, diagonal=False)
        free = [asynchronous(one, cores, cluster) for cores in CORES]
        print(f"{'no generations (a bound)':36}" + "".join(f"{e:>16.2f}" for e in free))
        axes.semilogx(CORES, free, ":", label="no generations (a bound)")
        axes.set(title=task, xlabel="cores", ylim=(0, 1.05))
        for cores, batches in ((64, 64), (1_024, 1_024), (10_000, 1_024)):
            whole = simulated(of_paper(task, measured, batches, False), cores, cluster)
            days = whole * config.generations / 86_400
            print(f"evolution of `paper` on {cores:,} cores: {days:.2f} days")
    figure.axes[0].set_ylabel("efficiency")
    figure.axes[0].legend()
    figure.savefig(PICTURE, dpi=100)


def measure() -> dict[str, Any]:
    """Measures the parts, by the time that the processor is at them: others on it don't count."""
    return {
        "step_s": {task: {n: step_seconds(task, n) for n in LANES} for task in PARAMETERS},
        "strategy_s": {
            size: {
                kind: {n: strategy_seconds(size, n, kind == "diagonal") for n in POPULATIONS}
                for kind in ("full", "diagonal")
            }
            for size in PARAMETERS.values()
        },
        "task_s": task_seconds(),
    }


def step_seconds(task: str, lanes: int, steps: int = 40) -> float:
    """Returns a core's time for a step of so many lanes: CarRacing's game, TakeCover's dream."""
    torch.set_num_threads(1)
    play = Playing(partial(opened, task), lanes, fixtures.controllers(task))
    with closing(play):
        play(0)
        play(SKIPPED)
        return processor_time(lambda: play(steps)) / steps


def opened(task: str, lanes: int) -> World:
    """Opens the world that the paper's C is evolved in."""
    if task == "carracing":
        return real_game(task, "envpool", "32-true", lanes)
    rnn = fixtures.rnn(task, "32-true")
    starts, config = torch.zeros(1, 2, rnn.sizes.latent_size), DreamConfig(temperature=1.15)
    return DreamFactory(get_task(task), rnn, rnn, starts, config, cell=True)(lanes)


def strategy_seconds(parameters: int, population: int, diagonal: bool) -> float:
    """Returns CMA-ES's own time for a generation, its second."""
    search, random = CMAES(np.zeros(parameters), population, 0.1, diagonal, 0), np.random.rand

    def generation() -> None:
        search.tell(search.ask(), random(population))

    generation()
    return processor_time(generation)


def processor_time(work: Callable[[], object]) -> float:
    """Returns how long this process's threads are at it."""
    began = time.process_time()
    work()
    return time.process_time() - began


def slept(job: tuple[float, np.ndarray]) -> float:
    """A batch in the eyes of its driver: takes so long, is sent something, and answers."""
    time.sleep(job[0])
    return job[0]


def task_seconds(jobs: int = 300) -> float:
    """Returns the driver's time for a job over Ray."""
    with closing(OnRay(None, 2, shared_files=True)(2)) as pool:
        some = [(0.0, np.zeros((16, 867), np.float32))] * jobs
        list(pool.run(slept, some[:10]))
        return processor_time(lambda: list(pool.run(slept, some))) / jobs


def check(measured: dict[str, Any], cores: int = 8) -> None:
    """Prints what was simulated and what was measured of jobs that sleep."""
    with closing(OnRay(None, cores, shared_files=True)(cores)) as pool:
        slept_for(pool, [0.0] * cores)  # all have started
        print(f"{'':28}{'simulated s':>12}{'measured s':>12}")
        for name, mean, slow in (
            ("batches of 0.5 s", 0.5, 0.0),
            ("batches of 0.05 s", 0.05, 0.0),
            ("0.05 s, network of 0.2 s", 0.05, 0.2),
        ):
            durations = lognormal(mean, 0.3, 8 * cores)
            cluster = Cluster(measured["task_s"], 0.001 + slow)
            expected = makespan(durations, cores, cluster, RESULT)
            found = statistics.median(
                slept_for(pool, [slow + duration for duration in durations]) for _ in range(3)
            )
            print(f"{name:28}{expected:12.2f}{found:12.2f}")


def slept_for(pool: Pool, durations: Sequence[float]) -> float:
    """Returns how long a pool takes for such jobs."""
    began = time.perf_counter()
    list(pool.run(slept, [(duration, np.zeros(867, np.float32)) for duration in durations]))
    return time.perf_counter() - began


def main() -> None:
    """Measures, checks or shows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["measure", "check"])
    what = parser.parse_args().what
    if what == "measure":
        with atomic_write(MEASURED) as aside:
            aside.write_text(json.dumps(measure(), indent=2) + "\n")
        return
    if not MEASURED.exists():
        sys.exit(f"scale: {MEASURED}: missing: python -m benchmarks.scale measure")
    measured = json.loads(MEASURED.read_text())
    check(measured) if what == "check" else show(measured)


if __name__ == "__main__":
    main()
