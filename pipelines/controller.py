"""Stage controller: evolves C in the task's world, and keeps what is best in the real one."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from pipelines.latents import open_latents
from pipelines.stage import Stage, main
from pipelines.worlds import open_dreams
from world_models.config import ControllerConfig
from world_models.errors import ConfigError
from world_models.evolution.centre import feature_mean
from world_models.evolution.fitness import Arena
from world_models.evolution.search import Generation, Validation, evolve, validation_seeds
from world_models.execution import best_device
from world_models.journal import Journal
from world_models.models.checkpoint import (
    feature_size,
    load_controllers,
    load_rnn,
    load_vae,
    save_controllers,
)
from world_models.models.controller import Controllers, ControllerSizes
from world_models.models.mdnrnn import MDNRNN
from world_models.models.precision import weights_dtype
from world_models.models.vae import VAE
from world_models.progress import Progress
from world_models.task import Task
from world_models.worlds.pixels import open_lanes
from world_models.worlds.real import RealWorld
from world_models.worlds.world import World

GAMES = 128
"""Of a search in the real world, open at a time: each has memory of its own, some a process."""
JUDGED = 64
"""Real episodes played at a time for validation."""


def run(stage: Stage) -> None:
    """Evolves C, and writes its history and the generation that did best on validation seeds."""
    config = stage.section(ControllerConfig)
    place = best_device(), weights_dtype(config.precision)
    vae = load_vae(stage.model("vae")).to(*place)
    rnn = load_rnn(stage.model("rnn"), vae.sizes.latent_size, stage.task.action_size).to(*place)
    sizes = controller_sizes(config, rnn, stage.task)
    seeds = validation_seeds(config.validation_episodes)
    latents = open_latents(stage, vae.sizes.latent_size)
    centre = None
    if config.centred:
        centre = feature_mean(latents, stage.task, rnn, config.cell)[: sizes.feature_size]
    dream = open_dreams(stage, latents, rnn, config.cell)

    def game(lanes: int, patience: int = 0) -> RealWorld:
        return real_world(stage.task, lanes, config, vae, rnn, patience)

    start = warm_start(config, rnn, sizes)
    lanes = config.population * config.episodes_at(config.generations)
    search: Callable[[int], World] = dream
    if config.world == "real":
        search, lanes = partial(game, patience=config.patience), min(lanes, GAMES)
    history: list[Generation] = []
    journal = Journal(stage.state / "generations.jsonl")
    before = len(journal.records)
    stage.goes_on(before, config.generations, "generations")
    with (
        closing(Arena(search, lanes, vae.device)) as arena,
        closing(Arena(game, min(len(seeds), JUDGED), vae.device)) as real,
        closing(Arena(dream, len(seeds), vae.device)) as dreamed,
        Progress("controller", config.generations, "generations", before) as progress,
    ):

        def validate(mean: Controllers) -> Validation:
            return Validation(real.score(mean, seeds), dreamed.score(mean, seeds))

        seed = stage.params.seed
        for generation in evolve(arena, validate, sizes, config, seed, centre, start, journal):
            history.append(generation)
            figures = row(generation)
            # Again, if it was played before: the kill may have been faster than MLflow.
            stage.run.log_metrics(figures, generation.number, generation.at)
            if generation.number > before:
                progress.advance(figures=figures)
    keep(stage, history)


def controller_sizes(config: ControllerConfig, rnn: MDNRNN, task: Task) -> ControllerSizes:
    """Of the C that is searched for, on this M's features."""
    alone = config.inputs == "latent"
    return ControllerSizes(
        rnn.sizes.latent_size if alone else feature_size(rnn.sizes, config.cell),
        task.action_size,
        config.bias,
        config.cell,
        config.sampled,
        config.hidden_units,
    )


def warm_start(config: ControllerConfig, rnn: MDNRNN, sizes: ControllerSizes) -> Controllers | None:
    """The controller that evolution begins from, if one is named.

    Raises ConfigError where there is no such file or its C is not of these sizes, CheckpointError
    where it is damaged or not of this M.
    """
    if config.warm_start is None:
        return None
    if not Path(config.warm_start).is_file():
        raise ConfigError(
            f"warm_start: {config.warm_start}: no such file (DVC takes away what a stage writes "
            "before it runs: name a copy)"
        )
    found = load_controllers(Path(config.warm_start), rnn)
    if len(found) != 1 or found.sizes != sizes:
        raise ConfigError(
            f"warm_start: {config.warm_start}: {len(found)} of {found.sizes}; this search is for "
            f"1 of {sizes}"
        )
    return found


def real_world(
    task: Task, lanes: int, config: ControllerConfig, vae: VAE, rnn: MDNRNN, patience: int
) -> RealWorld:
    """The game through V and M; on the CPU a thread steps its lanes: worlds share the cores."""
    threads = 1 if vae.device.type == "cpu" else None
    with ExitStack() as opened:
        games = opened.enter_context(closing(open_lanes(task, lanes, config.simulator, threads)))
        world = RealWorld(task, games, vae, rnn, config.cell, config.sampled, patience)
        opened.pop_all()  # the world closes them
    return world


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


def keep(stage: Stage, history: list[Generation]) -> None:
    """Writes the controller that did best in the real world on the validation seeds.

    This is selection, not training: evolution never sees these returns.
    """
    best = max(history, key=lambda generation: generation.merit)
    save_controllers(stage.model("controller"), best.mean)
    stage.run.log_artifact(stage.model("controller"))
    stage.write_table("generations.csv", [{"generation": g.number, **row(g)} for g in history])
    metrics: dict[str, float] = {"kept_generation": best.number, **row(best)}
    stage.run.log_metrics({f"kept/{k}": v for k, v in metrics.items()})
    stage.write_metrics("controller.json", metrics)


if __name__ == "__main__":
    main("controller", run)
