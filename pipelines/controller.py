"""Stage controller: evolves C in the task's world, and keeps what is best in the real one."""

import sys
from collections.abc import Mapping
from contextlib import closing

from pipelines.ground import ground
from pipelines.stage import Stage, main
from pipelines.trials import chosen_temperature
from world_models.evolution.search import (
    Generation,
    as_it_came,
    evolve,
    fooled,
    validation_seeds,
)
from world_models.journal import Journal
from world_models.models.checkpoint import save_controllers
from world_models.progress import Progress
from world_models.rounds import number


def run(stage: Stage) -> None:
    """Evolves C, and writes its history and the generation that did best on validation seeds."""
    on = ground(stage)
    config = on.config
    temperature, trials = chosen_temperature(stage, on)
    seeds = validation_seeds(config.validation_episodes, number(stage.params.round))
    history: list[Generation] = []
    journal = Journal(stage.state / "generations.jsonl")
    before = len(journal.records)
    stage.goes_on(before, config.generations, "generations")
    with (
        closing(on.crew()) as crew,
        Progress("controller", config.generations, "generations", before) as progress,
    ):
        arenas = on.arenas(crew, config, temperature)
        validate = on.judge(crew, seeds, temperature)
        if on.start is not None:
            began = Journal(stage.state / "start.jsonl")
            history.append(as_it_came(on.start, validate, config, began))
            stage.run.log_metrics(row(history[0]), 0, history[0].at)
        found = evolve(
            arenas, validate, on.sizes, config, stage.params.seed, on.centre, on.start, journal
        )
        for generation in found:
            if generation.number > before and not config.is_real(generation.number):
                warn_if_fooled(history, generation)
            history.append(generation)
            figures = row(generation)
            # Again, if it was played before: the kill may have been faster than MLflow.
            stage.run.log_metrics(figures, generation.number, generation.at)
            if generation.number > before:
                progress.advance(figures=figures)
    keep(stage, history, {"temperature": temperature} | trials)


def warn_if_fooled(history: list[Generation], now: Generation) -> None:
    """Says so where C has risen in the dream and fallen in the game since it was best there."""
    judged = [generation for generation in history if generation.validation is not None]
    best = max(judged, key=lambda generation: generation.merit, default=None)
    if best is None or best.validation is None or now.validation is None:
        return
    if fooled(best.validation, now.validation, len(judged)):
        was, is_ = (row(generation) for generation in (best, now))
        print(
            f"controller: generation {now.number} is fooled by the dream: since {best.number} it "
            f"rose there from {was['dream_mean']:.0f} to {is_['dream_mean']:.0f}, and fell in the "
            f"game from {was['real_mean']:.0f} to {is_['real_mean']:.0f}",
            file=sys.stderr,
        )


def row(generation: Generation) -> dict[str, float]:
    """A generation's figures, for the run and the plots."""
    figures = {
        "population_mean": float(generation.returns.mean()),
        "population_best": float(generation.returns.max()),
        "sigma": generation.sigma,
        "steps": generation.steps,
    }
    if generation.validation is not None:
        figures["real_mean"] = float(generation.validation.real.returns.mean())
        figures["dream_mean"] = float(generation.validation.dream.returns.mean())
    return figures


def keep(stage: Stage, history: list[Generation], more: Mapping[str, float]) -> None:
    """Writes the controller that did best in the real world on the validation seeds.

    This is selection, not training: evolution never sees these returns.
    """
    best = max(history, key=lambda generation: generation.merit)
    save_controllers(stage.model("controller"), best.mean)
    stage.run.log_artifact(stage.model("controller"))
    stage.write_table("generations.csv", [{"generation": g.number, **row(g)} for g in history])
    metrics = {"kept_generation": best.number, **row(best), **more}
    stage.run.log_metrics({f"kept/{k}": v for k, v in metrics.items()})
    stage.write_metrics("controller.json", metrics)


if __name__ == "__main__":
    main("controller", run)
