"""Episodes of a task, played by whoever a data set is collected with, into its shards."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from world_models.collecting.players import players
from world_models.config import CollectConfig
from world_models.data.store import Episode, shard_path, write_shard
from world_models.errors import ConfigError
from world_models.execution.crew import run_jobs
from world_models.models.agent import Agent, AgentFiles, load_agent
from world_models.seeds import COLLECT
from world_models.task import Task
from world_models.tasks import get_task
from world_models.worlds.pixels import Lanes, open_lanes


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
    cast = players(task, job.config, job.seed, seeds, agent)
    latest = lanes.reset(seeds)
    frames = [[frame] for frame in latest]
    actions: list[list[np.ndarray]] = [[] for _ in seeds]
    rewards: list[list[float]] = [[] for _ in seeds]
    ended = np.zeros(len(seeds), bool)
    playing = np.arange(len(seeds))
    while len(playing):
        chosen = cast.act(playing, latest).astype(np.float32)
        latest, gained, terminated, truncated = lanes.step(playing, chosen)
        for i, lane in enumerate(playing):
            frames[lane].append(latest[i])
            actions[lane].append(chosen[i])
            rewards[lane].append(gained[i])
        ended[playing] = terminated
        goes_on = ~(terminated | truncated)
        playing, latest = playing[goes_on], latest[goes_on]
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
            cast.names[lane],
        )
        for lane, seed in enumerate(seeds)
    ]
