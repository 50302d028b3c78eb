"""Stage register: one MLflow run for all stages of a round, and its agent in the registry."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from pipelines.context import Context
from pipelines.dvc.lineage import COMES_FROM, committed
from pipelines.stage import main
from world_models.params import SECTIONS
from world_models.reporting.tables import WORLDS, interval, read_summary, table
from world_models.runtime.checkpoint import read_sizes
from world_models.runtime.errors import DISTRIBUTION
from world_models.runtime.scores import read_scores_file
from world_models.tracking.registry import AgentModel
from world_models.tracking.run import flatten

SERVED = Path("src", "world_models", "served.py")
"""The code that a registered agent is loaded with."""
STAGES = ("collect", "vae", "encode", "rnn", "fidelity", "controller", "evaluate")
REPORTS = {
    "collect": "collect.json",
    "vae": "vae.json",
    "rnn": "rnn.json",
    "fidelity": "fidelity.json",
    "controller": "controller.json",
    "scores": "scores.json",
}
"""Metrics of the run, by prefix; those of `scores` have none."""


def run(context: Context) -> None:
    """Names the run that made each result, and registers V, M and C with their scores."""
    files = context.files
    origins = {name: committed(f"{name}@{context.params.round}") for name in STAGES}
    metrics = headline(context)
    for name in ("scores.json", "returns.csv"):
        context.tracking.log_artifact(files.report(name))
    context.tracking.register(
        agent_model(context),
        metrics,
        {
            "scale": context.params.scale,
            "round": context.params.round,
            "real_mean": f"{metrics['real/mean']:g}",
            "returns": origins["evaluate"].outputs[str(files.report("returns.csv"))],
        },
    )
    keys = {name: origin.key for name, origin in origins.items()}
    context.tracking.describe(summary(context), keys)
    context.write_metrics(COMES_FROM, {name: one._asdict() for name, one in origins.items()})


def agent_model(context: Context) -> AgentModel:
    """Returns the agent as MLflow is to have it."""
    files, task = context.files.agent, context.task
    return AgentModel(
        task.name,
        files,
        SERVED.resolve(),
        task.action_size,
        int(read_sizes(files.rnn)["hidden_size"]),
        f"{DISTRIBUTION}=={version(DISTRIBUTION)}",
    )


def summary(context: Context) -> str:
    """Returns what the round came to, in Markdown."""
    scores = read_summary(context.files.report("scores.json"))
    rows = [[words, interval(scores[world])] for world, words in WORLDS.items()]
    return (
        f"An agent for {context.task.name}: round `{context.params.round}` at scale "
        f"`{context.params.scale}`.\n\n"
        + table(["on held-out seeds", "mean return ± deviation [95% interval of the mean]"], rows)
    )


def headline(context: Context) -> dict[str, float]:
    """Returns the figures of all stages."""
    found: dict[str, float] = {}
    for prefix, name in REPORTS.items():
        report = read_scores_file(context.files.report(name), json.loads)
        report.pop("protocol", None)  # is no figure
        figures = flatten(report, separator="/")
        own = "" if prefix == "scores" else f"{prefix}/"
        found |= {f"{own}{key}": value for key, value in numbers(figures).items()}
    return found


def numbers(figures: Mapping[str, object]) -> dict[str, float]:
    """Returns those figures that are numbers."""
    return {k: float(v) for k, v in figures.items() if isinstance(v, int | float)}


if __name__ == "__main__":
    main("register", run, list(SECTIONS))
