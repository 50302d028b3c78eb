"""The command line, `world-models`. Torch and the games are imported by the commands that need
them, so that it answers at once."""

import argparse
import json
import sys
from pathlib import Path

from world_models.errors import WorldModelsError


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
    evaluate.add_argument("--models", type=Path, help="folder of V, M and C (default: models/TASK)")
    evaluate.add_argument("--episodes", type=_over_one, default=100, help="held-out seeds (100)")
    evaluate.add_argument("--lanes", type=_count, default=10, help="games a process (10)")
    evaluate.add_argument("--workers", type=_count, default=2, help="processes (2)")
    evaluate.set_defaults(command=_evaluate)
    return parser


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is under 1")
    return number


def _over_one(text: str) -> int:
    if (number := int(text)) < 2:
        raise argparse.ArgumentTypeError(f"{number} is under 2: one episode has no deviation")
    return number


def _evaluate(options: argparse.Namespace) -> None:
    """Prints mean, deviation, interval and number of the agent's returns, as JSON."""
    import numpy as np

    from world_models.evaluation import load_agent, play_jobs, real_jobs, summary
    from world_models.progress import Progress
    from world_models.seeds import TEST
    from world_models.tasks import get_task

    folder = options.models or Path("models", options.task)
    vae, rnn, controller = (folder / f"{name}.safetensors" for name in ("vae", "rnn", "controller"))
    load_agent(get_task(options.task), vae, rnn, controller)  # whatever is wrong, here it is said
    seeds = TEST[: options.episodes]
    jobs = real_jobs(options.task, seeds, options.lanes, (vae, rnn, controller))
    returns = []
    with Progress("evaluate", len(seeds), "episodes") as progress:
        for _, played in play_jobs(jobs, options.workers):
            returns.append(played)
            progress.advance(len(played))
    print(json.dumps(summary(np.concatenate(returns)), indent=2))


if __name__ == "__main__":
    main()
