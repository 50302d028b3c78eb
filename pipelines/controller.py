"""Stage controller: evolves C in the task's world, and keeps what is best in the real one."""

import sys
from contextlib import closing

from pipelines.context import Context
from pipelines.search_context import open_search
from pipelines.stage import main
from world_models.controller.checkpoint import save_controllers
from world_models.controller.search import (
    Generation,
    evolve,
    fooled,
    validate_start,
    validation_seeds,
)
from world_models.runtime.journal import Journal
from world_models.runtime.progress import Progress


def run(context: Context) -> None:
    """Evolves C, and writes its history and the generation that did best on validation seeds."""
    search = open_search(context)
    config = search.config
    seeds = validation_seeds(config.validation_episodes, context.params.number)
    history: list[Generation] = []
    journal = Journal(context.state / "generations.jsonl")
    before = len(journal.records)
    context.report_progress(before, config.generations, "generations")
    with (
        closing(search.open_pool(context.open_pool)) as pool,
        Progress("controller", config.generations, "generations", before) as progress,
    ):
        evaluators = search.evaluators(pool)
        validate = search.validator(pool, seeds)
        if search.start is not None:
            began = Journal(context.state / "start.jsonl")
            history.append(validate_start(search.start, validate, config, began))
            context.tracking.log_metrics(row(history[0]), 0, history[0].at)
        found = evolve(
            evaluators,
            validate,
            search.sizes,
            config,
            context.params.seed,
            search.centre,
            search.start,
            journal,
        )
        for generation in found:
            if generation.number > before and not config.is_real(generation.number):
                warn_if_fooled(history, generation)
            history.append(generation)
            figures = row(generation)
            # Again, if it was played before: the kill may have been faster than MLflow.
            context.tracking.log_metrics(figures, generation.number, generation.at)
            if generation.number > before:
                progress.advance(figures=figures)
    keep(context, history)


def warn_if_fooled(history: list[Generation], now: Generation) -> None:
    """Says so where C has risen in the dream and fallen in the game since it was best there."""
    validated = [generation for generation in history if generation.validation is not None]
    best = max(validated, key=lambda generation: generation.merit, default=None)
    if best is None or best.validation is None or now.validation is None:
        return
    if fooled(best.validation, now.validation, len(validated)):
        was, is_ = (row(generation) for generation in (best, now))
        print(
            f"controller: generation {now.number} is fooled by the dream: since {best.number} it "
            f"rose there from {was['dream_mean']:.0f} to {is_['dream_mean']:.0f}, and fell in the "
            f"game from {was['real_mean']:.0f} to {is_['real_mean']:.0f}",
            file=sys.stderr,
        )


def row(generation: Generation) -> dict[str, float]:
    """Returns a generation's figures, for the run and the plots."""
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


def keep(context: Context, history: list[Generation]) -> None:
    """Writes the controller that did best in the real world on the validation seeds.

    This is selection, not training: evolution never sees these returns.
    """
    best = max(history, key=lambda generation: generation.merit)
    file = context.files.model("controller")
    save_controllers(file, best.mean)
    context.tracking.log_artifact(file)
    context.write_table("generations.csv", [{"generation": g.number, **row(g)} for g in history])
    temperature = context.config.dream.temperature
    metrics = {"kept_generation": best.number, **row(best), "temperature": temperature}
    context.tracking.log_metrics({f"kept/{k}": v for k, v in metrics.items()})
    context.write_metrics("controller.json", metrics)


if __name__ == "__main__":
    main("controller", run, ["controller", "dream"])
