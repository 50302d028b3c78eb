"""The data set's episodes: played by random policies or an agent, and written in shards."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from world_models.agent import Agent, AgentFiles, load_agent
from world_models.collecting.config import CollectConfig
from world_models.collecting.neighbours import Neighbourhood
from world_models.collecting.policies import random_policy, side_by_side
from world_models.collecting.recording import RecordedLanes
from world_models.data.seeds import COLLECT
from world_models.data.store import Episode, shard_path, write_shard
from world_models.runtime.devices import one_thread
from world_models.runtime.errors import ConfigError
from world_models.runtime.parcels import FileJob
from world_models.runtime.processes import OpenPool, WorkerPool
from world_models.tasks import get_task
from world_models.tasks.base import Task
from world_models.worlds.games import open_lanes
from world_models.worlds.rollout import play, play_games

CPU = torch.device("cpu")


class Origin(NamedTuple):
    """What a round's data set goes on from, and which agent plays in it."""

    round: str
    """Its name."""
    shards: int = 0
    """How many the rounds before have made."""
    first_seed: int = COLLECT.start
    """The seed of its first episode."""
    agent: AgentFiles | None = None
    """The agent of the round before, for the policy `agent`; None for random policies."""


@dataclass(frozen=True)
class ShardJob(FileJob):
    """One shard of the data set: a task's episodes with these seeds."""

    task: str
    config: CollectConfig
    seed: int
    """The run's, from which policies draw their actions."""
    seeds: range
    """The episodes'."""
    total: int
    """Shards of the data set."""
    origin: Origin


def shard_jobs(
    folder: Path, task: str, config: CollectConfig, seed: int, origin: Origin
) -> list[ShardJob]:
    """Returns what makes the shards that a round adds to the data set.

    `seed` is the run's, from which the policies draw their actions. Raises ConfigError for a
    `shortest` that no episode can reach, for the policy `agent` where there is none, and where the
    rounds before have left too few seeds.
    """
    limit = get_task(task).time_limit
    if config.shortest >= limit:
        raise ConfigError(f"collect.shortest: {config.shortest}; no episode has over {limit} steps")
    if config.policy == "agent" and origin.agent is None:
        raise ConfigError("collect.policy: agent: a first round has none")
    first = origin.first_seed
    if first + config.episodes > COLLECT.stop:
        left = COLLECT.stop - first
        raise ConfigError(f"collect.episodes: {config.episodes}; only {left} seeds are left")
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


def collect(
    jobs: Sequence[ShardJob], workers: int, open_pool: OpenPool = WorkerPool
) -> Generator[list[int]]:
    """Makes the shards in parallel, and yields the lengths of each one's episodes as it is done."""
    if not jobs:
        return
    files, agent = jobs[0].origin.agent, None
    if files is not None:
        agent = load_agent(files, get_task(jobs[0].task), CPU)
    with closing(open_pool(min(workers, len(jobs)))) as pool:
        make_shard = pool.open(partial(ShardMaker, jobs[0], agent))
        for _, lengths in pool.run_files(make_shard, jobs):
            yield lengths


class ShardMaker:
    """Plays the episodes of one shard after the other, in games that stay open where they can."""

    def __init__(self, one: ShardJob, agent: Agent | None) -> None:
        """Opens the games for shards like this one, however many episodes the last of them has."""
        self.task, config = get_task(one.task), one.config
        self.agent = agent
        count = min(config.shard_episodes, config.episodes)
        games = open_lanes(self.task, count, config.simulator, threads=1)
        self.lanes = RecordedLanes(games)

    def __call__(self, job: ShardJob) -> list[int]:
        """Makes a shard, which depends on its job alone, and returns its episodes' lengths."""
        with one_thread(CPU):
            episodes = _play(self.task, self.lanes, job, self.agent)
        write_shard(job.path, episodes, job.total)
        return [len(episode) for episode in episodes]

    def close(self) -> None:
        """Stops the games."""
        self.lanes.close()


def _play(task: Task, lanes: RecordedLanes, job: ShardJob, agent: Agent | None) -> list[Episode]:
    """Plays the job's seeds; episodes that end too soon are played again with another seed."""
    kept: dict[int, Episode] = {}
    missing, attempt = list(job.seeds), 0
    while missing:
        # Seeds of later attempts lie beyond those of every shard's first.
        seeds = [seed + attempt * job.config.episodes for seed in missing]
        if seeds[-1] >= COLLECT.stop:
            raise ConfigError(
                f"collect.shortest: {job.config.shortest}; too few episodes are longer than that"
            )
        names = _play_once(task, lanes, seeds, job, agent)
        for seed, record, name in zip(missing, lanes.records, names, strict=True):
            if len(record.rewards) > job.config.shortest:
                kept[seed] = record.episode(job.origin.round, name)
        missing, attempt = [seed for seed in missing if seed not in kept], attempt + 1
    return [kept[seed] for seed in job.seeds]


def _play_once(
    task: Task, lanes: RecordedLanes, seeds: Sequence[int], job: ShardJob, agent: Agent | None
) -> list[str]:
    """Plays an episode of each seed, and returns what its policies are called."""
    if agent is None:
        policies = [random_policy(task, job.config, job.seed, seed) for seed in seeds]
        play_games(lanes, side_by_side(policies), seeds)
        return [job.config.policy] * len(seeds)
    neighbourhood = Neighbourhood(agent.controller, job.config, job.seed, seeds, lanes.count)
    play(agent.real_world(lanes), neighbourhood.act, seeds)
    return neighbourhood.names
