"""Real games as lanes: many independent episodes of one task, each a stream of 64x64 frames."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from functools import partial
from threading import RLock
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled, UnregisteredEnv

from world_models.runtime.errors import ConfigError, ExtraError, one_line
from world_models.tasks.base import FRAME_SIZE, Simulator, Task
from world_models.worlds.engines import FOLDER, Engines
from world_models.worlds.frames import resize, view
from world_models.worlds.window import off_screen, pygame_kept

Transitions = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""(frames, rewards, terminated, truncated) of the stepped lanes, in the order asked for."""


class Lanes(Protocol):
    """A number of independent episodes of one task.

    Nothing restarts by itself: a lane that has finished waits for the next `reset`, and costs
    nothing if it is left out of `step`.
    """

    count: int
    """Number of lanes."""

    def reset(self, seeds: Sequence[int] | np.ndarray) -> np.ndarray:
        """Starts a fresh episode in the first lanes, lane i from seeds[i], in [0, 2^31).

        Lanes beyond the seeds have finished. Equal seeds give equal episodes. Returns the first
        frames, (len(seeds), 64, 64, 3) uint8. Raises ValueError where there are too many seeds.
        """

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> Transitions:
        """Takes one step in the k >= 1 different lanes whose indices are `lanes`, (k,) int.

        `actions` is (k, action_size) float32 in [-1, 1]; the task's `to_env` says what they mean.
        Returns frames (k, 64, 64, 3) uint8, rewards (k,) float32, and terminated and truncated,
        (k,) bool. Raises ValueError if one of the lanes has finished, ConfigError for a frame or a
        reward of the game's that can't be used.
        """

    def close(self) -> None:
        """Stops the games. May be called twice."""


def open_lanes(
    task: Task, count: int, simulator: Simulator = "gymnasium", threads: int | None = None
) -> Lanes:
    """Opens `count` lanes of a task in its official environment or in EnvPool's fast copy.

    `count` is 1 or more, and `threads` (default: one a core) step them. Raises ConfigError for a
    simulator that is unknown or does not have the task, ExtraError where the game's engine is not
    installed, WorldModelsError where the system has no room for so many games.
    """
    if simulator == "gymnasium":
        return GymnasiumLanes(task, count, threads)
    if simulator == "envpool":
        return EnvPoolLanes(task, count, threads)
    raise ConfigError(f"unknown simulator {simulator!r}; known simulators: envpool, gymnasium")


_ONE_AT_A_TIME = RLock()
"""Held while a game of this process opens, steps or closes. The working directory is the process's;
and pygame draws polygons through a buffer of the process, without Python's lock, so two games at
once would draw into each other. A thread that holds it may close others: garbage closes whenever it
is collected."""


@contextlib.contextmanager
def _alone_with_pygame() -> Iterator[None]:
    """Holds off other games while some close, which must not quit pygame."""
    with _ONE_AT_A_TIME, pygame_kept():
        yield


class GymnasiumLanes:
    """Lanes of the official environment, one Gymnasium environment a lane."""

    def __init__(self, task: Task, count: int, threads: int | None = None) -> None:
        """Opens the games.

        `threads` (default: one a core) is how many step the lanes of a task whose `threads` is
        set; those of other tasks are stepped in turn, also where several hold lanes.
        """
        self.task = task
        self.count = count
        self._frames = np.zeros((count, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
        self._finished = np.ones(count, bool)
        self._threads = min(count, threads or os.cpu_count() or 1) if task.threads else 1
        self._pool = ThreadPoolExecutor(self._threads)
        self._directory = tempfile.TemporaryDirectory(prefix=FOLDER)
        self._engines = Engines(task, self._directory.name) if task.threads else None
        # ViZDoom leaves files in the working directory, and two processes that start in the same
        # one race for them; so games start in a directory of their own.
        self._games: list[gymnasium.Env[Any, Any]] = []
        try:
            with _ONE_AT_A_TIME, off_screen(), contextlib.chdir(self._directory.name):
                for left in range(count, 0, -1):
                    self._games.append(self._open(left))
        except BaseException:
            self.close()
            raise

    def reset(self, seeds: Sequence[int] | np.ndarray) -> np.ndarray:
        """Starts fresh episodes; see `Lanes.reset`."""
        seeds = _at_most(seeds, self.count)
        started = np.arange(len(seeds))
        (frames,) = self._in_parts(self._reset_part, started, seeds)
        self._frames[started] = frames
        self._finished[:] = True
        self._finished[started] = False
        return frames

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> Transitions:
        """Steps some lanes; see `Lanes.step`.

        Where the environment shows nothing on termination (`Task.blank_end`), the frame before
        is repeated.
        """
        _refuse_finished(self._finished, lanes)
        moves = self.task.to_env(actions)
        frames, rewards, terminated, truncated = self._in_parts(self._step_part, lanes, moves)
        if self.task.blank_end:
            frames[terminated] = self._frames[lanes[terminated]]
        self._frames[lanes] = frames
        self._finished[lanes] = terminated | truncated
        return frames, rewards, terminated, truncated

    def close(self) -> None:
        """Stops the games and removes their directory."""
        with self._engines or nullcontext():  # a step that Ctrl-C has left to itself ends first
            self._pool.shutdown()
        with nullcontext() if self._engines else _alone_with_pygame():
            for game in self._games:
                game.close()
        self._games = []
        if self._engines:
            self._engines.close()
        self._directory.cleanup()

    def _in_parts(
        self, work: Callable[..., tuple[np.ndarray, ...]], lanes: np.ndarray, inputs: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Shares the lanes out among the threads, and joins what `work` returns for each part.

        Where one part fails, the others end first: a game may not be closed while it steps.
        """
        parts = min(self._threads, len(lanes))
        with self._engines or _ONE_AT_A_TIME:
            if parts == 1:
                return work(lanes, inputs)
            shares = np.array_split(lanes, parts), np.array_split(inputs, parts)
            running = [self._pool.submit(work, *share) for share in zip(*shares, strict=True)]
            wait(running)
            results = zip(*(one.result() for one in running), strict=True)
            return tuple(map(np.concatenate, results))

    def _open(self, left: int) -> gymnasium.Env[Any, Any]:
        """Opens the first of so many games that are left to open."""
        make = partial(_open_game, self.task)
        return self._engines.open(make, left) if self._engines else make()

    def _reset_part(self, lanes: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray]:
        raw = []
        # Many games start pygame's display with their first picture; not those in other processes.
        with nullcontext() if self._engines else off_screen():
            for lane, seed in zip(lanes, seeds, strict=True):
                observation, _ = self._games[lane].reset(seed=int(seed))
                raw.append(self._view(lane, observation))
        return (self._shrink(raw),)

    def _step_part(self, lanes: np.ndarray, moves: np.ndarray) -> Transitions:
        raw, results = [], []
        for lane, move in zip(lanes, moves, strict=True):
            observation, *result, _ = self._games[lane].step(move)
            raw.append(self._view(lane, observation))
            results.append(result)
        rewards, terminated, truncated = zip(*results, strict=True)
        return (
            self._shrink(raw),
            _numbers(self.task, rewards),
            np.array(terminated, bool),
            np.array(truncated, bool),
        )

    def _view(self, lane: int, observation: Any) -> np.ndarray:
        """Returns the cropped raw frame of a lane."""
        if self.task.observe == "render":
            observation = self._games[lane].render()
        elif self.task.observe == "screen":
            observation = observation.get("screen") if isinstance(observation, dict) else None
        return view(self.task, observation)

    def _shrink(self, views: list[np.ndarray]) -> np.ndarray:
        return resize(np.stack(views), (slice(None), slice(None)))


class EnvPoolLanes:
    """Lanes of EnvPool's C++ copy of a game: several times faster, and close but not identical.

    For training; scores are reported from the official environment.
    """

    def __init__(self, task: Task, count: int, threads: int | None = None) -> None:
        """Prepares the lanes; `threads` is the number that step them (default: one a core).

        Raises ConfigError if EnvPool does not have the task, ExtraError where EnvPool is missing.
        """
        if task.envpool_id is None:
            raise ConfigError(
                f"simulator: envpool: task {task.name!r} has no EnvPool version; use gymnasium"
            )
        self.task = task
        self.count = count
        self._finished = np.ones(count, bool)
        self._envpool_id = task.envpool_id
        self._threads = min(count, threads or os.cpu_count() or 1)
        self._envpool = _envpool()
        self._pool: Any = None

    def reset(self, seeds: Sequence[int] | np.ndarray) -> np.ndarray:
        """Starts fresh episodes; see `Lanes.reset`."""
        # A pool's seeds are fixed when it is made, so fresh episodes need a fresh pool.
        self._pool = None  # the old pool goes first, with its threads and memory
        self._pool = self._make_pool(_at_most(seeds, self.count).tolist())
        observations, info = self._pool.reset()
        started = np.arange(len(seeds))
        self._finished[:] = True
        self._finished[started] = False
        view(self.task, observations[0])  # they are all alike
        return resize(observations[self._places(info, started)], self.task.crop)

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> Transitions:
        """Steps some lanes; see `Lanes.step`."""
        _refuse_finished(self._finished, lanes)
        moves = self.task.to_env(actions)
        *results, info = self._pool.step(moves, lanes.astype(np.int32))
        places = self._places(info, lanes)
        observations, rewards, terminated, truncated = (result[places] for result in results)
        self._finished[lanes] = terminated | truncated
        frames = resize(observations, self.task.crop)
        return frames, _numbers(self.task, rewards), terminated, truncated

    def close(self) -> None:
        """Lets go of the pool, which stops its threads."""
        self._pool = None

    def _make_pool(self, seeds: list[int]) -> Any:
        return self._envpool.make(
            self._envpool_id,
            env_type="gymnasium",
            num_envs=len(seeds),
            num_threads=min(len(seeds), self._threads),
            seed=seeds,
            max_episode_steps=self.task.time_limit,
        )

    def _places(self, info: dict[str, Any], lanes: np.ndarray) -> np.ndarray:
        """Says where each of the lanes stands in EnvPool's answer, whose order is its own."""
        places = np.empty(self.count, np.intp)
        places[info["env_id"]] = np.arange(len(lanes))
        asked_for: np.ndarray = places[lanes]
        return asked_for


def _envpool() -> Any:
    try:
        import envpool
    except ModuleNotFoundError:
        raise ExtraError("simulator: envpool", "pipeline") from None
    return envpool


def _open_game(task: Task) -> gymnasium.Env[Any, Any]:
    """Opens one official environment, and starts it, so that its own files are made now.

    Raises ExtraError where its engine is not installed, ConfigError where nobody knows it.
    """
    try:
        game = gymnasium.make(
            task.env_id,
            max_episode_steps=task.time_limit,
            disable_env_checker=True,
            **task.env_kwargs,
        )
    except (ModuleNotFoundError, DependencyNotInstalled) as error:
        if task.extra is None:
            raise ConfigError(f"tasks/{task.name}.py: env_id: {one_line(error)}") from error
        raise ExtraError(task.name, task.extra) from error
    except UnregisteredEnv as error:
        raise ConfigError(f"tasks/{task.name}.py: env_id: {error}") from None
    game.reset(seed=0)
    return game


def _numbers(task: Task, rewards: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Returns the rewards of a step, one a lane.

    Raises ConfigError where one isn't a finite number: M's loss and C's return would be lost with
    it.
    """
    numbers = np.asarray(rewards, np.float32)
    finite = np.isfinite(numbers)
    if numbers.ndim != 1 or not finite.all():
        wrong = numbers[~finite] if numbers.ndim == 1 else rewards
        raise ConfigError(
            f"tasks/{task.name}.py: a reward has to be a finite number; the game's is {wrong[0]}"
        )
    return numbers


def _at_most(seeds: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    if len(seeds) > count:
        raise ValueError(f"{len(seeds)} seeds for {count} lanes")
    return np.asarray(seeds, np.int64)


def _refuse_finished(finished: np.ndarray, lanes: np.ndarray) -> None:
    if finished[lanes].any():
        raise ValueError(f"lanes {lanes[finished[lanes]].tolist()} have finished: reset first")
