"""The final protocol: many episodes on held-out seeds, in the real world and in the dream."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from world_models.agent import Agent, AgentFiles, load_agent
from world_models.controller.evaluator import evaluate
from world_models.runtime.devices import best_device, one_thread
from world_models.runtime.processes import run_jobs
from world_models.tasks import get_task
from world_models.tasks.base import Task
from world_models.worlds.games import open_lanes
from world_models.worlds.rollout import play_blind


def agent_to_score(task: Task, files: AgentFiles) -> Agent:
    """Reads an agent onto the GPU, if there is one, where it computes in full float32.

    Raises CheckpointError where one of its files is missing, or they don't fit together.
    """
    torch.backends.cudnn.allow_tf32 = False
    return load_agent(files, task, best_device())


@dataclass(frozen=True)
class RealJob:
    """Some episodes of the official game, played side by side in one process."""

    task: str
    seeds: range
    agent: AgentFiles | None
    """None plays at random."""


def real_jobs(task: str, seeds: range, lanes: int, agent: AgentFiles | None) -> list[RealJob]:
    """Cuts the seeds into jobs of as many lanes. Scores do not depend on who runs which."""
    starts = range(0, len(seeds), lanes)
    return [RealJob(task, seeds[start : start + lanes], agent) for start in starts]


def play_jobs(jobs: Sequence[RealJob], workers: int) -> Iterator[tuple[RealJob, np.ndarray]]:
    """Plays the jobs in parallel; yields each with its returns as it ends."""
    for number, returns in run_jobs(_play, jobs, workers):
        yield jobs[number], returns


def _play(job: RealJob) -> np.ndarray:
    task = get_task(job.task)
    if job.agent is None:
        uniform = _uniform(task.action_size, job.seeds)
        return play_blind(task, "gymnasium", uniform, job.seeds).returns
    agent = agent_to_score(task, job.agent)
    lanes = open_lanes(task, len(job.seeds), "gymnasium")
    with closing(lanes), one_thread(agent.vae.device):
        return evaluate(agent.real_world(lanes), agent.controller, job.seeds).returns[0]


def _uniform(action_size: int, seeds: Sequence[int]) -> Callable[[np.ndarray], np.ndarray]:
    """Uniform actions, new at each step, from a stream for each lane: not the game's own."""
    streams = [np.random.default_rng([seed, 1]) for seed in seeds]

    def act(lanes: np.ndarray) -> np.ndarray:
        drawn = [streams[lane].uniform(-1, 1, action_size) for lane in lanes]
        return np.asarray(drawn, np.float32)

    return act


def protocol(task: Task, scale: str) -> dict[str, str | int]:
    """Returns what scores must have in common, beside their seeds, to be compared."""
    environment = task.env_id.rpartition(":")[2]
    return {"scale": scale, "environment": environment, "time_limit": task.time_limit}
