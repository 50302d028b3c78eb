"""Rows of the real worlds and of the dream."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import envpool
import gymnasium
import numpy as np
import torch

from benchmarks import fixtures, textbook
from benchmarks.loops import Loops
from benchmarks.measure import Effort, Measured, Row, Work, compare
from benchmarks.networks import best_precision, eager, networks, products
from pipelines.search_context import GAMES, open_real_world
from world_models.controller.config import ControllerConfig
from world_models.controller.policy import Controllers
from world_models.data.store import EpisodeStore
from world_models.runtime.config import WeightsPrecision
from world_models.runtime.devices import best_device, cores
from world_models.runtime.processes import WorkerPool
from world_models.tasks import get_task
from world_models.tasks.base import Simulator
from world_models.worlds.base import World
from world_models.worlds.config import DreamConfig
from world_models.worlds.dream import DreamFactory
from world_models.worlds.rollout import captured

LANES = 64
"""Of CarRacing."""
DOOM_LANES = 2 * GAMES
"""As two workers have them at most."""
DREAMS = 1024
SKIPPED = 60
"""Steps at an episode's start that are not measured: CarRacing zooms in, its dearest frames."""
MEASURED = 60
"""Steps after those, in which hardly any episode ends."""


def stretch(
    reset: Callable[[], object], steps: Callable[[int], int], length: int = MEASURED
) -> Work:
    """So many steps of fresh episodes, past their start; `steps` takes a number of them."""

    def prepare() -> None:
        reset()
        steps(SKIPPED)

    return Work(partial(steps, length), prepare)


class Playing:
    """A world, in whichever process, and C in it; finished lanes not counted.

    A dream on a GPU is the replay of a CUDA graph, as in `play`; no lane of the bench's finishes.
    """

    def __init__(
        self, open_world: Callable[[int], World], lanes: int, controllers: Controllers
    ) -> None:
        self._world = open_world(lanes)
        self._acting = controllers.to(self._world.device)
        self._replayed: Callable[[int], int] | None = None

    def __call__(self, steps: int) -> int:
        """Plays so many steps, and returns in how many lanes together; 0: begins anew."""
        if not steps:
            return self._begin()
        return self._replayed(steps) if self._replayed else sum(map(self._step, range(steps)))

    def close(self) -> None:
        """Closes the world."""
        self._replayed = None  # it holds this, and both the GPU's memory
        self._world.close()

    def _begin(self) -> int:
        self._world.begin(range(self._world.num_envs))
        if self._world.unbroken and not self._replayed:
            self._replayed = replayed(partial(self._step, 0), self._world.num_envs)
        return 0

    def _step(self, _number: int) -> int:
        playing = 0 if self._world.unbroken else int((~self._world.finished).sum())
        self._world.advance(self._acting.act(self._world.features()))
        return playing


def playing(
    stack: ExitStack, open_world: Callable[[int], World], lanes: int, controllers: Controllers
) -> Work:
    """Steps of C in so many lanes together, in worlds side by side as an evaluator has them."""
    pool = stack.enter_context(closing(WorkerPool(cores(best_device()))))
    play = pool.open(partial(Playing, open_world, -(-lanes // pool.workers), controllers))

    def steps(count: int) -> int:
        return sum(played for _, played in pool.run(play, [count] * pool.workers))

    return stretch(partial(steps, 0), steps)


def replayed(step: Callable[[], object], lanes: int) -> Callable[[int], int]:
    """What takes so many steps of as many lanes each, by a CUDA graph of one."""
    with torch.inference_mode():
        replay = captured(step)

    def steps(count: int) -> int:
        for _ in range(count):
            replay()
        return count * lanes

    return steps


def real_game(name: str, simulator: Simulator, precision: WeightsPrecision, lanes: int) -> World:
    """A game through V and M."""
    config = fixtures.params(name).section(ControllerConfig)
    config = config.model_copy(update={"simulator": simulator, "sampled": False})
    vae, rnn = fixtures.vae(name, precision), fixtures.rnn(name, precision)
    return open_real_world(get_task(name), lanes, config, vae, rnn)


def bare_envpool(count: int) -> Work:
    """CarRacing in EnvPool with no policy and no look at its frames."""
    pool = envpool.make("CarRacing-v3", env_type="gymnasium", num_envs=count, seed=0)
    actions = np.tile(np.array([0, 0.3, 0], np.float32), (count, 1))

    def steps(number: int) -> int:
        for _ in range(number):
            pool.step(actions)
        return number * count

    return stretch(pool.reset, steps)


def replayed_envpool(store: EpisodeStore) -> Work:
    """A data set's drives in EnvPool, side by side, with no look at their frames.

    What a frame costs hangs on what it shows: a car that spins on the grass is dearer than one
    that rolls down the road.
    """
    task, drives = get_task("carracing"), store.episodes()
    moves = [task.to_env(store.read(drive).steps["actions"]) for drive in drives]
    seeds, lengths = [drive.seed for drive in drives], np.array([drive.length for drive in drives])
    pool: Any = None

    def prepare() -> None:
        nonlocal pool
        pool = None  # its seeds are fixed when it is made
        pool = envpool.make("CarRacing-v3", env_type="gymnasium", num_envs=len(seeds), seed=seeds)
        pool.reset()

    def drive() -> int:
        for step in range(lengths.max()):
            going = np.flatnonzero(lengths > step).astype(np.int32)
            pool.step(np.stack([moves[lane][step] for lane in going]), going)
        return int(lengths.sum())

    return Work(drive, prepare)


def networks_row(effort: Effort) -> Measured:
    """V and M alone."""
    precision = best_precision(networks, "carracing", LANES)
    path = networks("carracing", LANES, precision)
    return compare(path, [eager("carracing", LANES)], effort, precision)


def car_racing_features(effort: Effort) -> Measured:
    """CarRacing's features out of the real world."""
    precision = best_precision(networks, "carracing", LANES)
    with ExitStack() as stack:
        parts = [bare_envpool(LANES), networks("carracing", LANES, precision)]
        return compare(driving(stack, precision), parts, effort, precision)


def car_racing_textbook(effort: Effort) -> Measured:
    """The same, against one game a process."""
    precision = best_precision(networks, "carracing", LANES)
    with ExitStack() as stack:
        loops = stack.enter_context(closing(Loops(textbook.car_racing)))
        return compare(driving(stack, precision), [Work(loops.run)], effort, precision)


def driving(stack: ExitStack, precision: WeightsPrecision) -> Work:
    """C in the real CarRacing."""
    game = partial(real_game, "carracing", "envpool", precision)
    return playing(stack, game, LANES, fixtures.controllers("carracing"))


def take_cover_features(effort: Effort) -> Measured:
    """TakeCover's features out of the real world."""
    precision = best_precision(networks, "takecover", DOOM_LANES)
    with ExitStack() as stack:
        loops = stack.enter_context(closing(Loops(textbook.doom)))
        game = partial(real_game, "takecover", "gymnasium", precision)
        path = playing(stack, game, DOOM_LANES, fixtures.controllers("takecover"))
        parts = [Work(loops.run), networks("takecover", DOOM_LANES, precision)]
        return compare(path, parts, effort, precision)


def dreaming(stack: ExitStack, name: str, precision: WeightsPrecision) -> Work:
    """C in M's dream."""
    rnn, controllers = fixtures.rnn(name, precision), fixtures.controllers(name)
    starts = torch.zeros(1, 2, rnn.sizes.latent_size)
    config = DreamConfig(temperature=1.15)
    dream = DreamFactory(get_task(name), rnn, rnn, starts, config, controllers.sizes.cell)
    return playing(stack, dream, DREAMS, controllers)


def dream(name: str, effort: Effort) -> Measured:
    """A dream's steps against its matrix products, in the precision that does those best."""
    precision = best_precision(products, name, DREAMS)
    with ExitStack() as stack:
        parts = [products(name, DREAMS, precision)]
        return compare(dreaming(stack, name, precision), parts, effort, precision)


def dream_textbook(effort: Effort) -> Measured:
    """TakeCover's dream against one dream a process."""
    precision = best_precision(products, "takecover", DREAMS)
    with ExitStack() as stack:
        loops = stack.enter_context(closing(Loops(textbook.take_cover_dream)))
        path = dreaming(stack, "takecover", precision)
        return compare(path, [Work(loops.run)], effort, precision)


def official(env_id: str) -> Work:
    """CarRacing's official environment, drawing every frame of the same slow drive."""
    game = gymnasium.make(env_id, disable_env_checker=True)
    action = np.array([0, 0.05, 0], np.float32)

    def steps(count: int) -> int:
        for _ in range(count):
            game.step(action)
        return count

    return stretch(partial(game.reset, seed=0), steps, 3 * MEASURED)


def official_car_racing(effort: Effort) -> Measured:
    """CarRacing as final scores are played, against Gymnasium's own."""
    return compare(official(get_task("carracing").env_id), [official("CarRacing-v3")], effort)


BOTH = "its bare parts together"
PRODUCTS = "its matrix products alone"
ROWS = [
    Row("CarRacing, features", BOTH, "frames", 0.85, car_racing_features),
    Row("V and M, 64 frames", "eager float32", "frames", 2, networks_row),
    Row("CarRacing, features", "the textbook loop", "frames", 12, car_racing_textbook),
    Row("TakeCover, features", BOTH, "frames", 0.85, take_cover_features),
    Row("TakeCover, dream", PRODUCTS, "steps", 0.5, partial(dream, "takecover")),
    Row("TakeCover, dream", "the textbook loop", "steps", 15, dream_textbook),
    Row("CarRacing, dream", PRODUCTS, "steps", 0.5, partial(dream, "carracing")),
    Row("CarRacing, official", "Gymnasium's own", "steps", 3, official_car_racing),
]
