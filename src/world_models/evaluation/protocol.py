"""The final protocol: many episodes on held-out seeds, in the real world and in the dream."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from world_models.agent import Agent, AgentFiles, load_agent
from world_models.controller.evaluator import evaluate
from world_models.runtime.devices import best_device, one_thread
from world_models.runtime.processes import OpenPool, WorkerPool
from world_models.tasks import get_task
from world_models.tasks.base import Task
from world_models.worlds.games import open_lanes
from world_models.worlds.rollout import play_blind


def agent_to_score(task: Task, files: AgentFiles, device: torch.device | None = None) -> Agent:
    """Reads an agent onto a device (default: the GPU, if there is one).

    Raises CheckpointError where one of its files is missing, or they don't fit together.
    """
    torch.backends.cudnn.allow_tf32 = False  # in full float32
    return load_agent(files, task, device or best_device())


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


def play_jobs(
    jobs: Sequence[RealJob],
    workers: int,
    open_pool: OpenPool = WorkerPool,
    device: torch.device | None = None,
) -> Iterator[tuple[RealJob, np.ndarray]]:
    """Plays the jobs in parallel; yields each with its returns as it ends.

    Agents are read here and sent to the workers, to compute on the device (default: the GPU, if
    there is one).
    """
    files = {job.agent: get_task(job.task) for job in jobs if job.agent is not None}
    agents = {one: agent_to_score(task, one, device) for one, task in files.items()}
    with closing(open_pool(max(1, min(workers, len(jobs))))) as pool:
        for number, returns in pool.run(pool.open(partial(RealPlayer, agents)), jobs):
            yield jobs[number], returns


class RealPlayer:
    """Plays jobs, in whichever process it is opened."""

    def __init__(self, agents: Mapping[AgentFiles, Agent]) -> None:
        torch.backends.cudnn.allow_tf32 = False
        self._agents = agents

    def __call__(self, job: RealJob) -> np.ndarray:
        """Returns what the job's episodes earned (seeds,)."""
        task = get_task(job.task)
        if job.agent is None:
            uniform = _uniform(task.action_size, job.seeds)
            return play_blind(task, "gymnasium", uniform, job.seeds).returns
        agent, lanes = self._agents[job.agent], open_lanes(task, len(job.seeds), "gymnasium")
        with closing(lanes), one_thread(agent.vae.device):
            return evaluate(agent.real_world(lanes), agent.controller, job.seeds).returns[0]

    def close(self) -> None:
        """There is nothing to close: games are opened for each job."""


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
