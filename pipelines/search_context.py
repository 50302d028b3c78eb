"""What a search for C has: V, M, the features that C sees, and the worlds that it is played in."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from pipelines.context import Context
from pipelines.warm_start import warm_start
from world_models.controller.centring import feature_mean
from world_models.controller.config import ControllerConfig
from world_models.controller.evaluator import DividedEvaluator, Evaluator, ParallelEvaluator
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.controller.search import Validation
from world_models.rnn.checkpoint import load_rnn, load_rnns
from world_models.rnn.inference import rnn_for_inference
from world_models.rnn.model import MDNRNN
from world_models.runtime.devices import cores
from world_models.runtime.errors import CheckpointError
from world_models.runtime.precision import weights_dtype
from world_models.runtime.processes import OpenPool, Pool, WorkerPool
from world_models.tasks.base import Task
from world_models.vae.checkpoint import load_vae
from world_models.vae.inference import vae_for_inference
from world_models.vae.model import VAE
from world_models.vae.starts import load_starts
from world_models.worlds.config import DreamConfig
from world_models.worlds.dream import DreamFactory
from world_models.worlds.features import feature_size
from world_models.worlds.games import open_lanes
from world_models.worlds.real import RealWorld

GAMES = 64
"""Games that a worker has open at a time: each has memory of its own, some a process."""
VALIDATED = 32
"""Real episodes that a worker plays at a time for validation."""


@dataclass(frozen=True)
class SearchContext:
    """All that a search is made of, but for its worlds' processes."""

    task: Task
    config: ControllerConfig
    vae: VAE
    rnn: MDNRNN
    sizes: ControllerSizes
    centre: Tensor | None
    """The mean of C's features over the data set, where the search has it for its origin."""
    start: Controllers | None
    """The controller that the search begins from, if not from zeros."""
    dreams: list[DreamFactory]
    """One for each M in whose dreams C is evolved; they share a generation's episodes."""

    def open_pool(self, open_pool: OpenPool = WorkerPool) -> Pool:
        """Opens the workers that worlds are played in: one a core, as far as there is work."""
        return open_pool(min(cores(self.vae.device), self.config.batches))

    def evaluators(self, pool: Pool) -> Callable[[int], Evaluator]:
        """Opens the worlds that the generations play in, and returns which generation has which."""
        config = self.config
        generations = range(1, config.generations + 1)
        episodes = config.episodes_at(config.generations)
        games = min(config.population * episodes, GAMES * config.batches)
        game = partial(self.open_real_world, patience=config.patience, curiosity=config.curiosity)

        def open_worlds(real: bool) -> Evaluator:
            if real:
                return ParallelEvaluator(game, games, config.batches, pool)
            return self.open_dreams(config.population, episodes, pool, config.weighed)

        opened = {
            real: open_worlds(real) for real in {config.is_real(number) for number in generations}
        }
        return lambda number: opened[config.is_real(number)]

    def open_dreams(
        self, candidates: int, episodes: int, pool: Pool, weighed: bool = False
    ) -> Evaluator:
        """Opens the dreams, with a lane for each episode of each candidate."""
        lanes, batches = candidates * -(-episodes // len(self.dreams)), self.config.batches
        parts = [
            ParallelEvaluator(replace(dreams, weighed=weighed), lanes, batches, pool)
            for dreams in self.dreams
        ]
        return DividedEvaluator(parts)

    def validator(self, pool: Pool, seeds: Sequence[int]) -> Callable[[Controllers], Validation]:
        """Returns what plays one controller on these seeds, in the game and in the dream."""
        batches = self.config.batches
        games = min(len(seeds), VALIDATED * batches)
        real = ParallelEvaluator(self.open_real_world, games, batches, pool)
        dreamed = self.open_dreams(1, len(seeds), pool)

        def validate(mean: Controllers) -> Validation:
            return Validation(real.evaluate(mean, seeds), dreamed.evaluate(mean, seeds))

        return validate

    def open_real_world(self, lanes: int, patience: int = 0, curiosity: float = 0) -> RealWorld:
        """Opens the game through V and M: see `RealWorld` for the last two."""
        networks = self.vae, self.rnn
        return open_real_world(self.task, lanes, self.config, *networks, patience, curiosity)


def open_real_world(
    task: Task,
    lanes: int,
    config: ControllerConfig,
    vae: VAE,
    rnn: MDNRNN,
    patience: int = 0,
    curiosity: float = 0,
) -> RealWorld:
    """Opens the game through V and M; on the CPU one thread steps its lanes, since worlds share
    the cores."""
    threads = 1 if vae.device.type == "cpu" else None
    with ExitStack() as opened:
        games = opened.enter_context(closing(open_lanes(task, lanes, config.simulator, threads)))
        world = RealWorld(task, games, vae, rnn, config.cell, config.sampled, patience, curiosity)
        opened.pop_all()  # the world closes them
    return world


def open_search(context: Context) -> SearchContext:
    """Reads V, M, the data set and the start of the search from a stage's files."""
    config, files, task = context.config.controller, context.files, context.task
    place = context.playing_device, weights_dtype(config.precision)
    vae = vae_for_inference(load_vae(files.model("vae")), *place)
    size = vae.sizes.latent_size
    rnn = rnn_for_inference(load_rnn(files.model("rnn"), size, task.action_size), *place)
    sizes = controller_sizes(config, context.config.dream, rnn, task)
    latents = context.open_latents(size)
    centre = None
    if config.centred:
        centre = feature_mean(latents, task, rnn, config.cell)[: sizes.feature_size]
    starts = load_starts(files.model("starts"), size)
    dreams = [
        DreamFactory(task, rnn, dreamer, starts, context.config.dream, config.cell)
        for dreamer in open_dreamers(context, rnn)
    ]
    start = warm_start(context, rnn, sizes, latents)
    return SearchContext(task, config, vae, rnn, sizes, centre, start, dreams)


def open_dreamers(context: Context, rnn: MDNRNN) -> list[MDNRNN]:
    """Returns the M's in whose dreams C is evolved: the agent's own, or the others.

    Raises CheckpointError where there are no others.
    """
    config = context.config.controller
    if config.dreamed_by == "own":
        return [rnn]
    file, place = context.files.model("dreamers"), (rnn.device, weights_dtype(config.precision))
    others = load_rnns(file, rnn.sizes.latent_size, rnn.sizes.action_size)
    if not others:
        raise CheckpointError(file, "holds no M")
    return [rnn_for_inference(other, *place) for other in others]


def controller_sizes(
    config: ControllerConfig, dream: DreamConfig, rnn: MDNRNN, task: Task
) -> ControllerSizes:
    """Returns what C is to be, on this M's features."""
    alone = config.inputs == "latent"
    return ControllerSizes(
        rnn.sizes.latent_size if alone else feature_size(rnn.sizes, config.cell),
        task.action_size,
        config.bias,
        config.cell,
        config.sampled,
        config.hidden_units,
        dream.temperature,
        dream.ends,
        task.name,
    )
