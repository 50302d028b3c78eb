"""What every search for C of a stage has: V, M, their features, and the worlds it is played in."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from pipelines.latents import open_latents
from pipelines.stage import Stage
from pipelines.worlds import Dreams, open_dreams
from world_models.config import BEFORE, ControllerConfig
from world_models.errors import ConfigError
from world_models.evolution.centre import feature_mean
from world_models.evolution.fitness import Arena
from world_models.evolution.search import Validation
from world_models.execution import best_device, cores
from world_models.execution.crew import Crew
from world_models.models.checkpoint import feature_size, load_controllers, load_rnn, load_vae
from world_models.models.controller import Controllers, ControllerSizes
from world_models.models.inference import for_inference
from world_models.models.mdnrnn import MDNRNN
from world_models.models.precision import weights_dtype
from world_models.models.vae import VAE
from world_models.task import Task
from world_models.worlds.pixels import open_lanes
from world_models.worlds.real import RealWorld
from world_models.worlds.world import World

GAMES = 128
"""Of a search in the real world, open at a time: each has memory of its own, some a process."""
JUDGED = 64
"""Real episodes played at a time for validation."""


@dataclass(frozen=True)
class Ground:
    """The same for all searches of a stage."""

    task: Task
    config: ControllerConfig
    vae: VAE
    rnn: MDNRNN
    sizes: ControllerSizes
    centre: Tensor | None
    """The mean of C's features over the data set, where the search has it for its origin."""
    start: Controllers | None
    dream: Dreams

    def game(self, lanes: int, patience: int = 0, curiosity: float = 0) -> RealWorld:
        """The game through V and M."""
        return real_world(self.task, lanes, self.config, self.vae, self.rnn, patience, curiosity)

    @property
    def device(self) -> torch.device:
        """Where V and M are."""
        return self.vae.device

    def crew(self) -> Crew:
        """Who plays side by side."""
        return Crew(cores(self.device))

    def arenas(
        self, crew: Crew, config: ControllerConfig, temperature: float
    ) -> Callable[[int], Arena]:
        """Where each generation of a search plays."""
        lanes = config.population * config.episodes_at(config.generations)
        worlds: dict[bool, tuple[Callable[[int], World], int]] = {
            False: (replace(self.dream, temperature=temperature), lanes),
            True: (
                partial(self.game, patience=config.patience, curiosity=config.curiosity),
                min(lanes, GAMES),
            ),
        }
        arenas = {
            real: Arena(*worlds[real], crew)
            for real in {config.is_real(number) for number in range(1, config.generations + 1)}
        }
        return lambda number: arenas[config.is_real(number)]

    def judge(
        self, crew: Crew, seeds: Sequence[int], temperature: float
    ) -> Callable[[Controllers], Validation]:
        """What plays one controller on these seeds, in the game and in the dream."""
        real = Arena(self.game, min(len(seeds), JUDGED), crew)
        dreamed = Arena(replace(self.dream, temperature=temperature), len(seeds), crew)

        def validate(mean: Controllers) -> Validation:
            return Validation(real.score(mean, seeds), dreamed.score(mean, seeds))

        return validate


def ground(stage: Stage) -> Ground:
    """Of a stage, from its files and parameters."""
    config = stage.section(ControllerConfig)
    place = best_device(), weights_dtype(config.precision)
    vae = for_inference(load_vae(stage.model("vae")), *place)
    size = vae.sizes.latent_size
    rnn = for_inference(load_rnn(stage.model("rnn"), size, stage.task.action_size), *place)
    sizes = controller_sizes(config, rnn, stage.task)
    latents = open_latents(stage, size)
    centre = None
    if config.centred:
        centre = feature_mean(latents, stage.task, rnn, config.cell)[: sizes.feature_size]
    start = warm_start(stage, config, rnn, sizes)
    dream = open_dreams(stage, latents, rnn, config.cell)
    return Ground(stage.task, config, vae, rnn, sizes, centre, start, dream)


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


def warm_start(
    stage: Stage, config: ControllerConfig, rnn: MDNRNN, sizes: ControllerSizes
) -> Controllers | None:
    """The controller that evolution begins from, if one is named or the round before has one.

    Raises ConfigError where there is no such file or its C is not of these sizes, CheckpointError
    where it is damaged or not of this M.
    """
    if config.warm_start is None:
        return None
    before = config.warm_start == BEFORE
    file = stage.before.model("controller") if before else Path(config.warm_start)
    if not file.is_file():
        raise ConfigError(
            f"warm_start: {file}: no such file (DVC takes away what a stage writes "
            "before it runs: name a copy)"
        )
    found = load_controllers(file, rnn)
    if len(found) != 1 or found.sizes != sizes:
        raise ConfigError(
            f"warm_start: {file}: {len(found)} of {found.sizes}; this search is for 1 of {sizes}"
        )
    return found


def real_world(
    task: Task,
    lanes: int,
    config: ControllerConfig,
    vae: VAE,
    rnn: MDNRNN,
    patience: int,
    curiosity: float = 0,
) -> RealWorld:
    """The game through V and M; on the CPU a thread steps its lanes: worlds share the cores."""
    threads = 1 if vae.device.type == "cpu" else None
    with ExitStack() as opened:
        games = opened.enter_context(closing(open_lanes(task, lanes, config.simulator, threads)))
        world = RealWorld(task, games, vae, rnn, config.cell, config.sampled, patience, curiosity)
        opened.pop_all()  # the world closes them
    return world
