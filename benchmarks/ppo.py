"""What a user would take instead: Stable-Baselines3's PPO, from pixels, for as many minutes.

`python -m benchmarks.ppo carracing --minutes 39` trains it with the settings of its zoo (those of
CarRacing, and those of Atari for TakeCover) on the frames that V sees, and scores it by the final
protocol: results/ppo/carracing/scores.json and returns.csv.
"""

import argparse
import csv
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecNormalize

from world_models.data.seeds import EVOLVE, TEST
from world_models.evaluation.protocol import protocol
from world_models.evaluation.statistics import summary
from world_models.runtime.devices import cores
from world_models.runtime.files import atomic_write
from world_models.tasks import get_task
from world_models.tasks.base import FRAME_SIZE, Simulator, Task
from world_models.worlds.games import open_lanes

GAMES = 8
"""Side by side, in training."""
GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Zoo:
    """What rl-baselines3-zoo has for a game."""

    simulator: Simulator
    """The game of training: the one that our own C is evolved in, if it is evolved in a game."""
    actions: Space[Any]
    """The game's own."""
    to_ours: Callable[[np.ndarray], np.ndarray]
    """Its own actions (n, ...) to those of C (n, a)."""
    skip: int
    """Steps that an action is held for."""
    stack: int
    """Frames that the policy sees at a time."""
    rewards: Literal["normalized", "signs"]
    """What becomes of rewards in training; Atari's wrapper keeps their signs."""
    learning_rate: float
    """At the start; it falls to zero evenly."""
    clip: Callable[[float], float]
    """The share of time that is left to PPO's clip range."""
    settings: dict[str, Any]


def pedals(actions: np.ndarray) -> np.ndarray:
    """CarRacing's own steering, gas and brake as C's outputs."""
    return np.stack([actions[:, 0], 2 * actions[:, 1] - 1, actions[:, 2]], axis=1)


def lean(actions: np.ndarray) -> np.ndarray:
    """TakeCover's 0 stay, 1 right, 2 left as C's output."""
    return np.array([0.0, 1.0, -1.0], np.float32)[actions][:, None]


ZOO = {
    "carracing": Zoo(
        "envpool",
        Box(np.array([-1, 0, 0], np.float32), np.ones(3, np.float32)),
        pedals,
        skip=2,
        stack=2,
        rewards="normalized",
        learning_rate=1e-4,
        clip=lambda _: 0.2,
        settings={
            "batch_size": 128,
            "n_steps": 512,
            "n_epochs": 10,
            "ent_coef": 0.0,
            "sde_sample_freq": 4,
            "use_sde": True,
            "policy_kwargs": {
                "log_std_init": -2,
                "ortho_init": False,
                "activation_fn": torch.nn.GELU,
                "net_arch": {"pi": [256], "vf": [256]},
            },
        },
    ),
    "takecover": Zoo(
        "gymnasium",
        Discrete(3),
        lean,
        skip=4,
        stack=4,
        rewards="signs",
        learning_rate=2.5e-4,
        clip=lambda left: 0.1 * left,
        settings={"batch_size": 256, "n_steps": 128, "n_epochs": 4, "ent_coef": 0.01},
    ),
}


class Games(VecEnv):
    """Games side by side, each begun anew when it ends; frames are grey, and some are skipped."""

    def __init__(
        self, task: Task, zoo: Zoo, simulator: Simulator, seeds: Sequence[int], signs: bool = False
    ) -> None:
        """Opens a game for each seed; a game's later episodes have seeds drawn from its first.

        With `signs` a reward is worth 1, 0 or -1.
        """
        frame = Box(0, 255, (FRAME_SIZE, FRAME_SIZE, 1), np.uint8)
        super().__init__(len(seeds), frame, zoo.actions)
        self.zoo, self.first, self.signs = zoo, list(seeds), signs
        self.random = [np.random.default_rng(seed) for seed in seeds]
        self.games = [open_lanes(task, 1, simulator, 1) for _ in seeds]
        self.pool = ThreadPoolExecutor(cores(torch.device("cpu")))
        self.actions = np.zeros(0)

    def reset(self) -> np.ndarray:
        """Begins every game."""
        begun = self.pool.map(lambda game, seed: grey(game.reset([seed])), self.games, self.first)
        return np.concatenate(list(begun))

    def step_async(self, actions: np.ndarray) -> None:
        """Takes the actions of all games."""
        self.actions = self.zoo.to_ours(actions).astype(np.float32)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Plays them."""
        stepped = self.pool.map(self._step, range(self.num_envs))
        frames, rewards, done, infos = zip(*stepped, strict=True)
        earned = np.sign(rewards) if self.signs else np.array(rewards)
        return np.concatenate(frames), earned, np.array(done), list(infos)

    def _step(self, number: int) -> tuple[np.ndarray, float, bool, dict[str, Any]]:
        game, total = self.games[number], 0.0
        for _ in range(self.zoo.skip):
            frames, rewards, terminated, truncated = game.step(
                np.zeros(1, np.int64), self.actions[number : number + 1]
            )
            total += float(rewards[0])
            if terminated[0] or truncated[0]:
                info = {
                    "terminal_observation": grey(frames)[0],
                    "TimeLimit.truncated": bool(truncated[0] and not terminated[0]),
                }
                seed = self.random[number].integers(EVOLVE.start, EVOLVE.stop)
                return grey(game.reset([int(seed)])), total, True, info
        return grey(frames), total, False, {}

    def close(self) -> None:
        """Stops the games."""
        for game in self.games:
            game.close()
        self.pool.shutdown()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Games have no attributes; nobody draws them."""
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Does nothing."""

    def env_method(self, method_name: str, *args: Any, **kwargs: Any) -> list[Any]:
        """Games have no methods."""
        return [None] * self.num_envs

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No game is wrapped."""
        return [False] * self.num_envs


def grey(frames: np.ndarray) -> np.ndarray:
    """Frames (n, 64, 64, 3) in grey (n, 64, 64, 1)."""
    return (frames @ GREY).astype(np.uint8)[..., None]


class OnTime(BaseCallback):
    """Ends a training after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.begun = seconds, time.monotonic()

    def left(self) -> float:
        """The share of the time that is left."""
        return max(0.0, 1 - (time.monotonic() - self.begun) / self.seconds)

    def _on_step(self) -> bool:
        return self.left() > 0


def train(task: Task, zoo: Zoo, seconds: float) -> PPO:
    """PPO after so many seconds."""
    games: VecEnv = Games(task, zoo, zoo.simulator, EVOLVE[:GAMES], zoo.rewards == "signs")
    games = VecFrameStack(games, zoo.stack)
    if zoo.rewards == "normalized":
        games = VecNormalize(games, norm_obs=False)
    clock = OnTime(seconds)
    model = PPO(
        "CnnPolicy",
        games,
        learning_rate=lambda _: zoo.learning_rate * clock.left(),
        clip_range=lambda _: zoo.clip(clock.left()),
        seed=1,
        device="cpu",
        **zoo.settings,
    )
    try:
        model.learn(10**12, callback=clock)
    finally:
        games.close()
    return model


def score(model: PPO, task: Task, zoo: Zoo, seeds: range) -> np.ndarray:
    """The returns of one official episode a seed, by the policy's best action."""
    returns = []
    for start in range(0, len(seeds), GAMES):
        some = seeds[start : start + GAMES]
        games = VecFrameStack(Games(task, zoo, "gymnasium", some), zoo.stack)
        seen: Any = games.reset()
        totals, over = np.zeros(len(some)), np.zeros(len(some), bool)
        while not over.all():
            actions, _ = model.predict(seen, deterministic=True)
            seen, rewards, done, _ = games.step(actions)
            totals += np.where(over, 0, rewards)
            over |= done
        games.close()
        returns.append(totals)
    return np.concatenate(returns)


def episodes(text: str) -> int:
    """A number that has a deviation."""
    number = int(text)
    if number < 2:
        raise ValueError(text)
    return number


def positive(text: str) -> float:
    """A number over 0."""
    number = float(text)
    if not number > 0:
        raise ValueError(text)
    return number


def main() -> None:
    """Trains, scores, and writes results/ppo/TASK/."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ppo", description=__doc__)
    parser.add_argument("task", choices=sorted(ZOO))
    parser.add_argument("--minutes", type=positive, required=True, help="of training")
    parser.add_argument("--episodes", type=episodes, default=100, help="that it is scored on")
    parser.add_argument("--output", type=Path, default=Path("results", "ppo"))
    arguments = parser.parse_args()
    task, zoo = get_task(arguments.task), ZOO[arguments.task]
    model = train(task, zoo, 60 * arguments.minutes)
    seeds = TEST[: arguments.episodes]
    returns = score(model, task, zoo, seeds)
    steps = model.num_timesteps * zoo.skip
    about = {"task": task.name, "minutes": arguments.minutes, "steps": steps}
    with atomic_write(arguments.output / task.name) as aside:
        aside.mkdir()
        scores = about | {"protocol": protocol(task, "ppo"), "real": summary(returns)}
        (aside / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
        with (aside / "returns.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [["seed", "real"], *zip(seeds, returns.round(3).tolist(), strict=True)]
            )
    print(f"{task.name}: {summary(returns)}")


if __name__ == "__main__":
    main()
