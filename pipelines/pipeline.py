"""Stage pipeline: one MLflow run for all stages of a task, and their agent in the registry."""

import json
from collections.abc import Iterable, Mapping

from pipelines.lineage import committed
from pipelines.stage import Stage, main
from world_models.rounds import dvc_stage
from world_models.tracking.run import flatten

STAGES = ("collect", "vae", "encode", "rnn", "honesty", "controller", "evaluate")
REPORTS = {
    "collect": "collect.json",
    "vae": "vae.json",
    "rnn": "rnn.json",
    "honesty": "honesty.json",
    "controller": "controller.json",
    "scores": "scores.json",
}
"""Metrics of the pipeline's run, by prefix; those of `scores` have none."""


def run(stage: Stage) -> None:
    """Names the run that made each result, and registers V, M and C with their scores."""
    origins = {
        name: committed(dvc_stage(name, stage.params.round)) for name in parts(STAGES, stage)
    }
    stage.log_every_section()
    metrics = headline(stage)
    stage.run.log_metrics(metrics)
    stage.run.log_origins({name: origin.key for name, origin in origins.items()})
    stage.run.register(
        stage.task.name,
        [
            *(stage.model(name) for name in ("vae", "rnn", "controller")),
            *(stage.report(name) for name in ("scores.json", "returns.csv")),
        ],
        {
            "scale": stage.params.scale,
            "round": stage.params.round,
            "real_mean": f"{metrics['real/mean']:g}",
            "returns": origins["evaluate"].outputs[str(stage.report("returns.csv"))],
        },
    )
    stage.write_metrics("pipeline.json", {name: one._asdict() for name, one in origins.items()})


def parts(names: Iterable[str], stage: Stage) -> list[str]:
    """Those that the round has: only a first one is held against simple policies."""
    return [name for name in names if name != "honesty" or stage.params.after is None]


def headline(stage: Stage) -> dict[str, float]:
    """The figures of all stages."""
    found: dict[str, float] = {}
    for prefix in parts(REPORTS, stage):
        name = REPORTS[prefix]
        report = json.loads(stage.report(name).read_text())
        report.pop("protocol", None)  # is no figure
        figures = flatten(report, separator="/")
        own = "" if prefix == "scores" else f"{prefix}/"
        found |= {f"{own}{key}": value for key, value in numbers(figures).items()}
    return found


def numbers(figures: Mapping[str, object]) -> dict[str, float]:
    """Those that are numbers."""
    return {k: float(v) for k, v in figures.items() if isinstance(v, int | float)}


if __name__ == "__main__":
    main("pipeline", run)
