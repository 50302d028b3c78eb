"""Keeps a run that counts: `python -m pipelines.keep carracing`.

dvc.lock and reports/ know one run of a round. What is to stay beside later ones is copied to
results/SCALE/ROUND/seed-N/, which is committed: the results page is made of nothing else.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils.serialize import modify_yaml

from pipelines.dvc.lineage import committed
from pipelines.register import STAGES
from pipelines.results import RESULTS
from pipelines.stage import EXPERIMENT
from world_models.layout import RoundFiles, explain
from world_models.params import (
    PARAMS,
    Params,
    SweepInputsConfig,
    SweepTemperatureConfig,
    round_names,
)
from world_models.reporting.kept import RUN, SWEEPS, read_description
from world_models.runtime.errors import ConfigError, WorldModelsError, one_line
from world_models.runtime.files import atomic_write
from world_models.tracking.client import present_uri
from world_models.tracking.history import PastRun, past_run

LOCK = Path("dvc.lock")
JUDGING = ("fidelity", "evaluate")
"""Stages that no later round depends on."""
REPORTS = ("scores.json", "returns.csv", "generations.csv", "controller.json", "fidelity.json")


def keep(round_: str) -> Path:
    """Copies a round's parameters, lock and reports, and returns the folder where they are now.

    Raises ConfigError where its results are not those of the code and the parameters as they are,
    where MLflow has no run of a stage, and where another run is kept in that folder; TrackingError
    where MLflow does not answer; ScoresError where what is kept there can't be read.
    """
    params = Params(PARAMS, round_)
    names = [*led_to(params.chain[:-1]), *(f"{stage}@{round_}" for stage in STAGES)]
    refuse_stale(names)
    folder = Path(RESULTS, params.scale, round_, f"seed-{params.base_seed}")
    description = describe(params, names)
    if not folder.exists():
        with atomic_write(folder) as aside:
            aside.mkdir()
            for name in REPORTS:
                shutil.copy(RoundFiles(round_).report(name), aside / name)
            shutil.copy(PARAMS, aside / PARAMS.name)
            keep_lock(names, aside / LOCK.name)
            (aside / RUN).write_text(json.dumps(description, indent=2) + "\n")
    elif read_description(folder) != description:
        raise ConfigError(f"{folder}: another run is kept there: remove the folder first")
    keep_sweeps(params, folder)
    return folder


def keep_sweeps(params: Params, folder: Path) -> None:
    """Copies the tables of the sweeps that are run of this task, also where the run is kept.

    Raises ConfigError where one of them is not up to date.
    """
    tasks = {
        "temperature": params.general(SweepTemperatureConfig).tasks,
        "inputs": params.general(SweepInputsConfig).tasks,
    }
    for name in SWEEPS:
        if params.task in tasks[name]:
            refuse_stale([f"compare_{name}@{params.task}"])
            with atomic_write(folder / f"{name}.md") as aside:
                shutil.copy(RoundFiles(params.task).report(f"{name}.md"), aside)


def led_to(before: Sequence[str]) -> list[str]:
    """Returns the stages of earlier rounds whose results later ones use."""
    return [f"{stage}@{part}" for part in before for stage in STAGES if stage not in JUDGING]


def refuse_stale(names: list[str]) -> None:
    """Raises ConfigError where one of the stages has to run again."""
    with Repo() as repo:
        stale = sorted(repo.status(targets=names))
    if stale:
        raise ConfigError(f"{stale[0]}: not up to date: run `dvc repro {stale[0]}`")


def keep_lock(names: list[str], path: Path) -> None:
    """Copies what dvc.lock says of some stages."""
    shutil.copy(LOCK, path)
    with modify_yaml(str(path)) as lock:
        for name in set(lock["stages"]) - set(names):
            del lock["stages"][name]


def describe(params: Params, names: list[str]) -> dict[str, Any]:
    """Returns what the run was, and how each of its stages was run."""
    runs = {name: made_by(name) for name in names}
    return {
        "scale": params.scale,
        "task": params.task,
        "round": params.round,
        "seed": params.base_seed,
        "seconds": round(sum(run.seconds for run in runs.values())),
        "stages": {name: run._asdict() for name, run in runs.items()},
    }


def made_by(name: str) -> PastRun:
    """Returns the run that made a stage's results; raises ConfigError where MLflow has none."""
    run = past_run(present_uri(), EXPERIMENT, committed(name).outputs)
    if run is None:
        remedy = f"`dvc repro --force --single-item {name}` makes one"
        raise ConfigError(f"{name}: MLflow has no run that made its results; {remedy}")
    return run


def main() -> None:
    """Keeps a round's run, or says in one line why it can't."""
    parser = argparse.ArgumentParser(prog="keep", description="Keep a run that counts.")
    parser.add_argument("round", help="one of the rounds in params.yaml, e.g. carracing")
    round_ = parser.parse_args().round
    try:
        print(keep(round_))
    except WorldModelsError as error:
        sys.exit(f"keep: {explain(error, round_names(PARAMS))}")
    except DvcException as error:
        sys.exit(f"keep: {one_line(error)}")


if __name__ == "__main__":
    main()
