"""Stage controller: evolves C in the task's world, and keeps what is best in the real one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import numpy as np

from pipelines.stage import Stage, main
from pipelines.worlds import dreams, open_latents
from world_models.config import ControllerConfig
from world_models.evolution.centre import feature_mean
from world_models.evolution.fitness import score
from world_models.evolution.search import Generation, Validation, evolve, validation_seeds
from world_models.models.checkpoint import feature_size, load_rnn, load_vae, save_controllers
from world_models.models.controller import Controllers, ControllerSizes
from world_models.models.mdnrnn import MDNRNN
from world_models.models.vae import VAE
from world_models.progress import Progress
from world_models.worlds.dream import DreamWorld
from world_models.worlds.pixels import open_lanes
from world_models.worlds.real import RealWorld
from world_models.worlds.rollout import Played
from world_models.worlds.world import World

JUDGED = 64
"""Real episodes played at a time for validation."""


def run(stage: Stage) -> None:
    """Evolves C, and writes its history and the generation that did best on validation seeds."""
    config = stage.section(ControllerConfig)
    vae = load_vae(stage.model("vae"))
    rnn = load_rnn(stage.model("rnn"), vae.sizes.latent_size, stage.task.action_size)
    features = feature_size(rnn.sizes, config.cell)
    sizes = ControllerSizes(
        features, stage.task.action_size, config.bias, config.cell, config.sampled
    )
    seeds = validation_seeds(config.validation_episodes)
    latents = open_latents(stage, vae.sizes.latent_size)
    centre = feature_mean(latents, stage.task, rnn, config.cell) if config.centred else None
    dream = dreams(stage, latents, rnn, config.cell)
    judge = dream(len(seeds))
    history: list[Generation] = []
    with (
        search_world(stage, config, vae, rnn, dream) as world,
        real_world(stage, config, vae, rnn, min(len(seeds), JUDGED)) as real,
        Progress("controller", config.generations, "generations") as progress,
    ):

        def validate(mean: Controllers) -> Validation:
            return Validation(score_in_pieces(real, mean, seeds), score(judge, mean, seeds))

        for generation in evolve(world, validate, sizes, config, stage.params.seed, centre):
            history.append(generation)
            figures = row(generation)
            stage.run.log_metrics(figures, generation.number)
            save_controllers(stage.state / "mean.safetensors", generation.mean)
            progress.advance(figures=figures)
    keep(stage, history)


def score_in_pieces(world: World, controllers: Controllers, seeds: Sequence[int]) -> Played:
    """One controller's episodes, as many at a time as the world has lanes."""
    pieces = []
    for start in range(0, len(seeds), world.num_envs):
        some = list(seeds[start : start + world.num_envs])
        filled = some + [seeds[0]] * (world.num_envs - len(some))
        played = score(world, controllers, filled)
        pieces.append(Played(*(figure[:, : len(some)] for figure in played)))
    return Played(*(np.concatenate(figure, axis=1) for figure in zip(*pieces, strict=True)))


@contextmanager
def search_world(
    stage: Stage,
    config: ControllerConfig,
    vae: VAE,
    rnn: MDNRNN,
    dream: Callable[[int], DreamWorld],
) -> Iterator[World]:
    """The world that C is evolved in, with a lane for each candidate and episode."""
    count = config.population * config.episodes
    if config.world == "real":
        with real_world(stage, config, vae, rnn, count, config.patience) as world:
            yield world
    else:
        yield dream(count)


@contextmanager
def real_world(
    stage: Stage, config: ControllerConfig, vae: VAE, rnn: MDNRNN, count: int, patience: int = 0
) -> Iterator[RealWorld]:
    """The game through V and M."""
    with closing(open_lanes(stage.task, count, config.simulator)) as lanes:
        yield RealWorld(stage.task, lanes, vae, rnn, config.cell, config.sampled, patience)


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
