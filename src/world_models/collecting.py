"""Making the data set: random policies and agents, and their episodes into the store."""

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from world_models.config import CollectConfig
from world_models.data.store import Episode, shard_path, write_shard
from world_models.errors import ConfigError
from world_models.execution import run_jobs
from world_models.models.agent import Agent, AgentFiles, load_agent
from world_models.models.controller import Controllers, ControllerSizes
from world_models.models.mdnrnn import MDNRNN, MDNRNNSizes
from world_models.models.vae import VAE, VAESizes, sample_latent, to_images
from world_models.seeds import COLLECT
from world_models.task import Task
from world_models.tasks import get_task
from world_models.worlds.pixels import Lanes, open_lanes


class Policy(Protocol):
    """How one episode's actions are chosen."""

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


class Playing:
    """An agent in an episode of its own: it sees frames, and keeps M's state."""

    def __init__(self, task: Task, agent: Agent, generator: torch.Generator) -> None:
        self.task, self.agent, self.generator = task, agent, generator
        self.state, self.begins = agent.rnn.initial_state(1), torch.ones(1, dtype=torch.bool)

    @torch.inference_mode()
    def act(self, frame: np.ndarray) -> np.ndarray:
        """C's action on this frame's latent and M's state."""
        controller = self.agent.controller
        latent, logvar = self.agent.vae.encode(to_images(torch.from_numpy(frame[None])))
        if controller.sizes.sampled:
            noise = torch.randn(latent.shape, generator=self.generator)
            latent = sample_latent(latent, logvar, noise)
        cell = [self.state.cell] if controller.sizes.cell else []
        features = torch.cat([latent, self.state.hidden, *cell], dim=1)
        action = controller.act(features)
        fed = self.task.to_model(action)
        self.state = self.agent.rnn.step(latent, fed, self.begins, self.state)
        self.begins = torch.zeros_like(self.begins)
        return action[0].numpy()


class Disturbed:
    """Another policy's actions, now and then for a while those of a random one instead."""

    def __init__(
        self,
        policy: Policy,
        disturbing: Policy,
        share: float,
        longest: int,
        random: np.random.Generator,
    ) -> None:
        """`share` of the spells, 1 to `longest` steps each, are random."""
        self.policy, self.disturbing, self.share = policy, disturbing, share
        self.longest, self.random, self.left, self.disturbed = longest, random, 0, False

    def act(self, frame: np.ndarray) -> np.ndarray:
        """The action of the one whose spell it is; the other watches."""
        if self.left == 0:
            self.left = int(self.random.integers(1, self.longest + 1))
            self.disturbed = self.random.random() < self.share
        self.left -= 1
        chosen, drawn = self.policy.act(frame), self.disturbing.act(frame)
        return drawn if self.disturbed else chosen


def random_network(task: Task, random: np.random.Generator) -> Playing:
    """V, M and C with random weights (the authors' code): Cauchy numbers times U(0, 1) / 100.

    One scale an episode; the code stores V's and M's weights as integers of 1/10,000.
    """
    generator = torch.Generator().manual_seed(int(random.integers(2**63)))
    m_sizes = MDNRNNSizes(32, task.action_size, 256, 5, False, False, False)
    vae, rnn = VAE(VAESizes(32)), MDNRNN(m_sizes)
    c_sizes = ControllerSizes(32 + 256, task.action_size, bias=True, cell=False)
    controller = Controllers(c_sizes, torch.zeros(1, c_sizes.parameter_count))
    scale = torch.rand((), generator=generator) * 0.01
    networks = [p for net in (vae, rnn) for p in net.parameters() if p.requires_grad]
    with torch.inference_mode():
        for tensor, part in [*((p, 1e-4) for p in networks), (controller.parameters, 1.0)]:
            drawn = torch.empty_like(tensor).cauchy_(generator=generator)
            tensor.copy_(drawn * scale * part)
        rnn.raise_forget_gate()
    return Playing(task, Agent(vae, rnn, controller), generator)


class Origin(NamedTuple):
    """What a round's data set goes on from, and who plays in it."""

    round: str
    shards: int = 0
    """That there are of the rounds before."""
    first_seed: int = COLLECT.start
    agent: AgentFiles | None = None
    """Of the round before, for the policy `agent`."""


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
    origin: Origin


def shard_jobs(
    folder: Path, task: str, config: CollectConfig, seed: int, origin: Origin
) -> list[ShardJob]:
    """The shards that a round adds to the data set; `seed` is the run's, from which
    the policies draw their actions."""
    limit = get_task(task).time_limit
    if config.shortest >= limit:
        raise ConfigError(f"collect.shortest: {config.shortest}; no episode has over {limit} steps")
    first = origin.first_seed
    ends = range(0, config.episodes, config.shard_episodes)
    return [
        ShardJob(
            shard_path(folder, origin.shards + number),
            task,
            config,
            seed,
            range(first + start, first + min(start + config.shard_episodes, config.episodes)),
            origin.shards + len(ends),
            origin,
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
    agent = None
    if job.origin.agent is not None:
        agent = load_agent(job.origin.agent, task.action_size, torch.device("cpu"))
    with closing(open_lanes(task, len(job.seeds), job.config.simulator)) as lanes, _one_thread():
        episodes = _play(task, lanes, job, agent)
    write_shard(job.path, episodes, job.total)
    return [len(episode) for episode in episodes]


@contextmanager
def _one_thread() -> Iterator[None]:
    """A network's last bits hang on the number of threads, which a shard must not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _play(task: Task, lanes: Lanes, job: ShardJob, agent: Agent | None) -> list[Episode]:
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
        for lane, episode in enumerate(_play_once(task, lanes, seeds, job, agent)):
            if lane not in kept and len(episode) > job.config.shortest:
                kept[lane] = episode
        attempt += 1
    return [kept[lane] for lane in sorted(kept)]


def _play_once(
    task: Task, lanes: Lanes, seeds: Sequence[int], job: ShardJob, agent: Agent | None
) -> list[Episode]:
    drawn = [policy_of(task, job.config, job.seed, seed, agent) for seed in seeds]
    names, policies = zip(*drawn, strict=True)
    first = lanes.reset(seeds)
    frames = [[frame.copy()] for frame in first]
    actions: list[list[np.ndarray]] = [[] for _ in seeds]
    rewards: list[list[float]] = [[] for _ in seeds]
    ended = np.zeros(len(seeds), bool)
    playing = np.arange(len(seeds))
    while len(playing):
        acts = [policies[lane].act(frames[lane][-1]) for lane in playing]
        chosen = np.asarray(acts, np.float32)
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
            job.origin.round,
            names[lane],
        )
        for lane, seed in enumerate(seeds)
    ]


def policy_of(
    task: Task, config: CollectConfig, seed: int, episode: int, agent: Agent | None = None
) -> tuple[str, Policy]:
    """The policy that plays the episode of this seed in the run with that seed, and its name.

    Raises ConfigError for the policy `agent` without one.
    """
    random = np.random.default_rng([seed, episode])
    if config.policy == "brownian":
        return config.policy, Brownian(task.action_size, random)
    if config.policy == "held":
        return config.policy, Held(task.action_size, random, config.longest_hold)
    if config.policy == "random-network":
        return config.policy, random_network(task, random)
    if agent is None:
        raise ConfigError("collect.policy: agent: a first round has none")
    return _agents(task, config, random, agent)


def _agents(
    task: Task, config: CollectConfig, random: np.random.Generator, agent: Agent
) -> tuple[str, Policy]:
    """The agent as it is, or else a neighbour of its C's, disturbed by random actions."""
    generator = torch.Generator().manual_seed(int(random.integers(2**63)))
    if random.random() < config.as_is:
        return "agent", Playing(task, agent, generator)
    own = agent.controller
    step = config.spread * torch.randn(own.parameters.shape, generator=generator)
    neighbour = replace(agent, controller=Controllers(own.sizes, own.parameters + step))
    playing = Playing(task, neighbour, generator)
    held = Held(task.action_size, random, config.longest_hold)
    longest = config.longest_hold[0]
    return "neighbour", Disturbed(playing, held, config.random_share, longest, random)
