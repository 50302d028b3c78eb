"""Ten times the episodes: what each stage takes then, in memory and in time.

`python -m benchmarks.growth` runs the stages themselves on made-up episodes: real frames of
CarRacing, cut into episodes of a few steps.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml

from benchmarks import fixtures
from world_models.data.store import Episode, EpisodeStore, shard_path, write_shard
from world_models.rnn.config import RNNConfig
from world_models.runtime.files import atomic_write
from world_models.vae.config import VAEConfig

ROOT = Path(__file__).parents[1]
TASK = "carracing"
STEPS = 6
"""Of a made-up episode."""
A_SHARD = 100
"""Episodes."""
SAMPLED_S = 0.2
STAGES = ("vae", "encode", "rnn", "controller", "evaluate")


@dataclass(frozen=True)
class Taken:
    """What one run of a stage took."""

    seconds: float
    megabytes: float
    """At most at one time, all its processes together."""


def main() -> None:
    """Prints a table and writes reports/growth.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--episodes", type=int, default=1000, help="and ten times as many")
    parser.add_argument("--output", type=Path, default=Path("reports/growth.json"))
    arguments = parser.parse_args()
    few, many = (measured(arguments.episodes * factor) for factor in (1, 10))
    print(f"{'stage':12}{'MB':>8}{'MB, x10':>10}{'ratio':>8}{'s':>8}{'s, x10':>10}{'ratio':>8}")
    table = {stage: compared(few[stage], many[stage]) for stage in STAGES}
    for stage, row in table.items():
        memory, seconds = row["megabytes"], row["seconds"]
        print(
            f"{stage:12}{memory[0]:8.0f}{memory[1]:10.0f}{row['memory_ratio']:8.2f}"
            f"{seconds[0]:8.1f}{seconds[1]:10.1f}{row['time_ratio']:8.2f}"
        )
    with atomic_write(arguments.output) as aside:
        aside.write_text(json.dumps({"episodes": arguments.episodes, "stages": table}, indent=2))


def compared(few: Taken, many: Taken) -> dict[str, Any]:
    """A row of the table."""
    return {
        "megabytes": [round(few.megabytes), round(many.megabytes)],
        "memory_ratio": round(many.megabytes / few.megabytes, 2),
        "seconds": [round(few.seconds, 1), round(many.seconds, 1)],
        "time_ratio": round(many.seconds / few.seconds, 2),
    }


def measured(episodes: int) -> dict[str, Taken]:
    """Every stage on so many episodes."""
    with TemporaryDirectory(prefix="world-models-growth-") as folder:
        project = Path(folder)
        write_episodes(project / "data" / TASK / "episodes", episodes)
        write_parameters(project / "params.yaml", episodes)
        return {stage: run(stage, project) for stage in STAGES}


def write_episodes(folder: Path, count: int) -> None:
    """Real frames in episodes that never were."""
    pieces = cut(fixtures.episodes(TASK))
    total = -(-count // A_SHARD)
    for number in range(total):
        seeds = range(number * A_SHARD, min((number + 1) * A_SHARD, count))
        shard = [
            Episode(seed, False, frames, steps, TASK, "cut")
            for seed, (frames, steps) in zip(seeds, pieces, strict=False)
        ]
        write_shard(shard_path(folder, number), shard, total)


def cut(store: EpisodeStore) -> Iterator[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Short pieces of real episodes, over and over."""
    while True:
        for at in store.episodes():
            episode = store.read(at)
            for start in range(0, len(episode) - STEPS, STEPS):
                frames = {k: v[start : start + STEPS + 1] for k, v in episode.frames.items()}
                steps = {k: v[start : start + STEPS] for k, v in episode.steps.items()}
                yield frames, steps


def write_parameters(path: Path, episodes: int) -> None:
    """The default scale's parameters: one pass over the data, a short search, few games."""
    contents = yaml.safe_load((ROOT / "params.yaml").read_text())
    task, params = contents[contents["scale"]][TASK], fixtures.params(TASK)
    frames = episodes * (STEPS + 1)
    batches = max(frames // params.section(VAEConfig).batch_size, 1)
    task["vae"] |= {"batches": batches, "validate_every": batches}
    rnn = params.section(RNNConfig)
    batches = max(episodes * STEPS // (rnn.lanes * rnn.steps), 1)
    task["rnn"] |= {"batches": batches, "validate_every": batches}
    task["controller"] |= {"population": 4, "generations": 1, "validation_episodes": 2}
    task["evaluate"] |= {"episodes": 2, "lanes": 1, "video_steps": 20}
    path.write_text(yaml.safe_dump(contents))


def run(stage: str, project: Path) -> Taken:
    """A stage from its start to its end."""
    start = time.perf_counter()
    command = [sys.executable, "-m", f"pipelines.{stage}", TASK]
    with (
        subprocess.Popen(command, cwd=project, env=environment(project)) as process,
        memory_of(process.pid) as peak,
    ):
        code = process.wait()
    if code:
        raise SystemExit(f"growth: stage {stage} ended with exit code {code}")
    return Taken(time.perf_counter() - start, peak["megabytes"])


def environment(project: Path) -> Mapping[str, str]:
    """A store of its own for MLflow, and the stages of this checkout."""
    uri = f"sqlite:///{project / 'mlflow.db'}"
    return os.environ | {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": uri}


@contextmanager
def memory_of(process: int) -> Iterator[dict[str, float]]:
    """The most that a process and its descendants held at one time, looked at in the block."""
    peak, over = {"megabytes": 0.0}, threading.Event()

    def look() -> None:
        while not over.wait(SAMPLED_S):
            peak["megabytes"] = max(peak["megabytes"], sum(map(held, family(process))))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def family(process: int) -> list[int]:
    """A process and its descendants."""
    found = [process]
    for member in found:
        for thread in Path(f"/proc/{member}/task").glob("*/children"):
            found += [int(child) for child in read(thread).split()]
    return found


def held(process: int) -> float:
    """A process's share of memory in MB, pages that it shares counted in part."""
    for line in read(Path(f"/proc/{process}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1000
    return 0.0


def read(path: Path) -> str:
    """A file of /proc, or nothing where the process has gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
