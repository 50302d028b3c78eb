"""The command line, `world-models`. Torch and the games are imported by the commands that need
them, so that it answers at once."""

import argparse
import hashlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from world_models import rounds
from world_models.errors import WorldModelsError

if TYPE_CHECKING:
    from world_models.regression import Judgement


def main(arguments: list[str] | None = None) -> None:
    """Runs a command; what a user can mend ends it with one line on stderr and exit code 1."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except WorldModelsError as error:
        sys.exit(f"world-models: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("world-models", description="Agents that learn in a dream.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    evaluate = commands.add_parser("evaluate", help="score an agent in the official game")
    evaluate.add_argument("task", help="a task's name, e.g. carracing")
    agent = evaluate.add_mutually_exclusive_group()
    agent.add_argument("--models", type=Path, help="folder of V, M and C (default: models/TASK)")
    agent.add_argument("--model", metavar="VERSION", help="MLflow's: a number, or champion")
    evaluate.add_argument("--episodes", type=_over_one, default=100, help="held-out seeds (100)")
    evaluate.add_argument("--lanes", type=_count, default=10, help="games a process (10)")
    evaluate.add_argument("--workers", type=_count, default=2, help="processes (2)")
    evaluate.set_defaults(command=_evaluate)
    gate = commands.add_parser(
        "gate",
        help="hold scores against their baseline",
        description="Exit code 0: no task is worse. 1: one is. 2: none, but one can't be told.",
    )
    gate.add_argument("tasks", nargs="+", metavar="TASK", help="tasks' names, e.g. carracing")
    gate.add_argument("--update", action="store_true", help="make these scores the baseline")
    gate.add_argument("--tolerance", type=_positive, help="with --update: points that may be lost")
    gate.add_argument("--reports", type=Path, default=Path("reports"), help="folder of scores")
    gate.add_argument("--baselines", type=Path, default=Path("baselines"), help="folder of those")
    gate.set_defaults(command=_gate)
    return parser


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is under 1")
    return number


def _over_one(text: str) -> int:
    if (number := int(text)) < 2:
        raise argparse.ArgumentTypeError(f"{number} is under 2: one episode has no deviation")
    return number


def _positive(text: str) -> float:
    if not 0 < (number := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not over 0")
    return number


def _evaluate(options: argparse.Namespace) -> None:
    """Prints mean, deviation, interval and number of the agent's returns, as JSON."""
    import numpy as np

    from world_models.evaluation import agent_to_score, play_jobs, real_jobs, summary
    from world_models.models.agent import AgentFiles
    from world_models.progress import Progress
    from world_models.seeds import TEST
    from world_models.tasks import get_task

    task = get_task(options.task)
    with _agent_folder(options) as folder:
        agent = AgentFiles(*(folder / f"{name}.safetensors" for name in AgentFiles._fields))
        agent_to_score(task, agent)  # whatever is wrong, here it is said
        seeds = TEST[: options.episodes]
        jobs = real_jobs(task.name, seeds, options.lanes, agent)
        returns = []
        with Progress("evaluate", len(seeds), "episodes") as progress:
            for _, played in play_jobs(jobs, options.workers):
                returns.append(played)
                progress.advance(len(played))
    print(json.dumps(summary(np.concatenate(returns)), indent=2))


@contextmanager
def _agent_folder(options: argparse.Namespace) -> Iterator[Path]:
    """Where V, M and C are: at hand, or taken out of the registry for as long as the block."""
    if options.model is None:
        yield options.models or Path("models", options.task)
        return
    from world_models.tracking.registry import take_out
    from world_models.tracking.store import existing_store

    with tempfile.TemporaryDirectory(prefix="world-models-") as folder:
        yield take_out(existing_store(_uri()), options.task, options.model, Path(folder))


def _uri() -> str:
    """Where runs are tracked: as the stages have it."""
    from world_models.tracking.store import default_uri

    return os.environ.get("MLFLOW_TRACKING_URI") or default_uri(Path())


def _row(task: str, judgement: "Judgement") -> str:
    """A row of the table; without figures where there was nothing to compare."""
    word = {0: "no worse", 1: "**worse**", 2: "can't tell"}[judgement.verdict]
    if math.isnan(judgement.now):
        return f"| {task} | | | | {word}: {judgement.reason} |"
    change = f"{judgement.now - judgement.was:+.1f} [{judgement.low:+.1f}, {judgement.high:+.1f}]"
    figures = f"{judgement.was:.1f} | {judgement.now:.1f} | {change}"
    return f"| {task} | {figures} | {word}: {judgement.reason} |"


def _crowned(reports: Path, task: str) -> str:
    """Moves the champion to the version with these scores; says how that went."""
    from world_models.tracking.delivery import first_line
    from world_models.tracking.registry import crown
    from world_models.tracking.store import existing_store

    returns = (reports / task / "returns.csv").read_bytes()
    try:
        version = crown(
            existing_store(_uri()), rounds.task(task), "returns", hashlib.md5(returns).hexdigest()
        )
    except Exception as error:  # the baseline has moved, whatever MLflow says
        return f"{task}: the champion stays as it is: {first_line(error)}"
    if version is None:
        return f"{task}: the champion stays as it is: no registered version has these scores"
    return f"{task}: version {version} is the champion"


def _gate(options: argparse.Namespace) -> None:
    """Prints a table, in Markdown for a job's summary; exits with the worst verdict."""
    from world_models import regression
    from world_models.regression import Verdict

    if options.update:
        for task in options.tasks:
            regression.update(options.reports, options.baselines, task, options.tolerance)
            print(_crowned(options.reports, task), file=sys.stderr)
    verdicts = set()
    print("| task | baseline | now | change | verdict |", "|---|--:|--:|--:|---|", sep="\n")
    for task in options.tasks:
        judgement = regression.gate(options.reports, options.baselines, task)
        print(_row(task, judgement))
        verdicts.add(judgement.verdict)
    sys.exit(next(v for v in (Verdict.WORSE, Verdict.UNCLEAR, Verdict.NO_WORSE) if v in verdicts))


if __name__ == "__main__":
    main()
