"""Stage register: one MLflow run for all stages of a round, and its agent in the registry."""

import json
from collections.abc import Mapping

from pipelines.context import Context, main
from pipelines.dvc.lineage import committed
from world_models.params import SECTIONS
from world_models.tracking.run import flatten

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
    context.tracking.log_metrics(metrics)
    context.tracking.log_origins({name: origin.key for name, origin in origins.items()})
    context.tracking.register(
        context.task.name,
        [*files.agent, *(files.report(name) for name in ("scores.json", "returns.csv"))],
        {
            "scale": context.params.scale,
            "round": context.params.round,
            "real_mean": f"{metrics['real/mean']:g}",
            "returns": origins["evaluate"].outputs[str(files.report("returns.csv"))],
        },
    )
    context.write_metrics("register.json", {name: one._asdict() for name, one in origins.items()})


def headline(context: Context) -> dict[str, float]:
    """Returns the figures of all stages."""
    found: dict[str, float] = {}
    for prefix, name in REPORTS.items():
        report = json.loads(context.files.report(name).read_text())
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
