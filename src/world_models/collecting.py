"""Making the data set: random policies, and their episodes into the store."""

import math
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from world_models.config import CollectConfig
from world_models.data.store import Episode, shard_path, write_shard
from world_models.errors import ConfigError
from world_models.execution import run_jobs
from world_models.models.controller import Controllers, ControllerSizes
from world_models.models.mdnrnn import MDNRNN, MDNRNNSizes
from world_models.models.vae import VAE, VAESizes, sample_latent, to_images
from world_models.seeds import COLLECT
from world_models.task import Task
from world_models.tasks import get_task
from world_models.worlds.pixels import Lanes, open_lanes


class RandomPolicy(Protocol):
    """How one episode's actions are drawn."""

    def act(self, frame: np.ndarray) -> np.ndarray:
        """A frame (64, 64, 3) to an action (a,) in [-1, 1]."""


class Brownian:
    """Actions that drift: a random walk clipped to [-1, 1] (white noise barely moves a car)."""

    STEP = 1 / math.sqrt(50)

    def __init__(self, size: int, random: np.random.Generator) -> None:
        self.random = random
        self.action = random.uniform(-1, 1, size)

    def act(self, frame: np.ndarray) -> np.ndarray:
        """The last action, a small normal step further."""
        action = self.action
        step = self.STEP * self.random.standard_normal(len(action))
        self.action = np.clip(action + step, -1, 1)
        return action


class Held:
    """Uniform actions, each held for 1 to L steps.

    The paper's L is 10. An episode draws its own L, uniform in its logarithm between two bounds:
    with a wide range M also sees what comes of walking to a wall and of standing still, which is
    where evolution takes C first.
    """

    def __init__(self, size: int, random: np.random.Generator, longest: Sequence[int]) -> None:
        self.size, self.random, self.left = size, random, 0
        low, high = np.log(longest[0]), np.log(longest[1])
        self.longest = round(math.exp(random.uniform(low, high)))

    def act(self, frame: np.ndarray) -> np.ndarray:
        """The action held, or a new one when its time is up."""
        if self.left == 0:
            self.left = int(self.random.integers(1, self.longest + 1))
            self.action = self.random.uniform(-1, 1, self.size)
        self.left -= 1
        return self.action


class RandomNetwork:
    """V, M and C with random weights (the authors' code): Cauchy numbers times U(0, 1) / 100."""

    def __init__(self, task: Task, random: np.random.Generator) -> None:
        self.task = task
        self.generator = torch.Generator().manual_seed(int(random.integers(2**63)))
        sizes = MDNRNNSizes(32, task.action_size, 256, 5, False, False, False)
        self.vae, self.rnn = VAE(VAESizes(32)), MDNRNN(sizes)
        c_sizes = ControllerSizes(32 + 256, task.action_size, bias=True, cell=False)
        self.controller = Controllers(c_sizes, torch.zeros(1, c_sizes.parameter_count))
        self._draw_weights()
        self.state = self.rnn.initial_state(1)

    @torch.inference_mode()
    def _draw_weights(self) -> None:
        """One scale an episode; the code stores V's and M's weights as integers of 1/10,000."""
        scale = torch.rand((), generator=self.generator) * 0.01
        networks = [p for net in (self.vae, self.rnn) for p in net.parameters() if p.requires_grad]
        for tensor, part in [*((p, 1e-4) for p in networks), (self.controller.parameters, 1.0)]:
            drawn = torch.empty_like(tensor).cauchy_(generator=self.generator)
            tensor.copy_(drawn * scale * part)
        self.rnn.raise_forget_gate()

    @torch.inference_mode()
    def act(self, frame: np.ndarray) -> np.ndarray:
        """C's action on this frame's latent and M's state."""
        mu, logvar = self.vae.encode(to_images(torch.from_numpy(frame[None])))
        latent = sample_latent(mu, logvar, torch.randn(mu.shape, generator=self.generator))
        action = self.controller.act(torch.cat([latent, self.state.hidden], dim=1))
        never = torch.zeros(1, dtype=torch.bool)
        self.state = self.rnn.step(latent, self.task.to_model(action), never, self.state)
        return action[0].numpy()


@dataclass(frozen=True)
class ShardJob:
    """One shard of the data set: a task's episodes with these seeds."""

    path: Path
    task: str
    config: CollectConfig
    seed: int
    seeds: range
    total: int
    """Shards of the data set."""


def shard_jobs(folder: Path, task: str, config: CollectConfig, seed: int) -> list[ShardJob]:
    """The shards that make up a data set; `seed` is the run's, from which
    the policies draw their actions."""
    limit = get_task(task).time_limit
    if config.shortest >= limit:
        raise ConfigError(f"collect.shortest: {config.shortest}; no episode has over {limit} steps")
    first = COLLECT.start
    ends = range(0, config.episodes, config.shard_episodes)
    return [
        ShardJob(
            shard_path(folder, number),
            task,
            config,
            seed,
            range(first + start, first + min(start + config.shard_episodes, config.episodes)),
            len(ends),
        )
        for number, start in enumerate(ends)
    ]


def collect(jobs: Sequence[ShardJob], workers: int) -> Generator[list[int]]:
    """Makes the shards, in parallel; yields the lengths of each shard's episodes as it ends."""
    for _, lengths in run_jobs(make_shard, jobs, workers):
        yield lengths


def make_shard(job: ShardJob) -> list[int]:
    """Plays a shard's episodes and writes it. The shard depends on its job alone."""
    task = get_task(job.task)
    with closing(open_lanes(task, len(job.seeds), job.config.simulator)) as lanes:
        episodes = _play(task, lanes, job)
    write_shard(job.path, episodes, job.total)
    return [len(episode) for episode in episodes]


def _play(task: Task, lanes: Lanes, job: ShardJob) -> list[Episode]:
    """Episodes with the job's seeds, those that end too soon played again with another seed."""
    kept: dict[int, Episode] = {}
    attempt = 0
    while len(kept) < len(job.seeds):
        # Seeds of later attempts lie beyond those of every shard's first.
        seeds = [seed + attempt * job.config.episodes for seed in job.seeds]
        if seeds[-1] >= COLLECT.stop:
            raise ConfigError(
                f"collect.shortest: {job.config.shortest}; too few episodes are longer than that"
            )
        for lane, episode in enumerate(_play_once(task, lanes, seeds, job)):
            if lane not in kept and len(episode) > job.config.shortest:
                kept[lane] = episode
        attempt += 1
    return [kept[lane] for lane in sorted(kept)]


def _play_once(task: Task, lanes: Lanes, seeds: Sequence[int], job: ShardJob) -> list[Episode]:
    policies = [random_policy(task, job.config, job.seed, seed) for seed in seeds]
    first = lanes.reset(seeds)
    frames = [[frame.copy()] for frame in first]
    actions: list[list[np.ndarray]] = [[] for _ in seeds]
    rewards: list[list[float]] = [[] for _ in seeds]
    ended = np.zeros(len(seeds), bool)
    playing = np.arange(len(seeds))
    while len(playing):
        drawn = [policies[lane].act(frames[lane][-1]) for lane in playing]
        chosen = np.asarray(drawn, np.float32)
        shown, gained, terminated, truncated = lanes.step(playing, chosen)
        for i, lane in enumerate(playing):
            frames[lane].append(shown[i].copy())
            actions[lane].append(chosen[i])
            rewards[lane].append(gained[i])
        ended[playing] = terminated
        playing = playing[~(terminated | truncated)]
    return [
        Episode(
            seed,
            bool(ended[lane]),
            {"frames": np.stack(frames[lane])},
            {
                "actions": np.stack(actions[lane]),
                "rewards": np.asarray(rewards[lane], np.float32),
            },
        )
        for lane, seed in enumerate(seeds)
    ]


def random_policy(task: Task, config: CollectConfig, seed: int, episode: int) -> RandomPolicy:
    """The policy that collects the episode of this seed, in the run with that seed."""
    random = np.random.default_rng([seed, episode])
    if config.policy == "brownian":
        return Brownian(task.action_size, random)
    if config.policy == "held":
        return Held(task.action_size, random, config.longest_hold)
    return RandomNetwork(task, random)
