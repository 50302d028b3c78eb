"""Stage evaluate: the agent on held-out seeds, in the real world, in the dream and at random."""

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from pipelines.context import Context
from pipelines.stage import main
from world_models.agent import Agent
from world_models.controller.evaluator import ParallelEvaluator
from world_models.data.seeds import TEST
from world_models.evaluation.protocol import (
    RealJob,
    agent_to_score,
    play_jobs,
    protocol,
    real_jobs,
)
from world_models.evaluation.statistics import bootstrap_interval, summary
from world_models.params import MachineConfig
from world_models.reporting.pictures import save_video
from world_models.reporting.videos import film
from world_models.runtime.devices import cores
from world_models.runtime.journal import Journal
from world_models.runtime.progress import Progress

DREAM_BATCHES = 2
"""Into how many batches the episodes in the dream are cut; not by the workers, since a network
rounds by a batch's size."""


def run(context: Context) -> None:
    """Scores the agent, and films it."""
    agent = agent_to_score(context.task, context.files.agent, context.playing_device)
    score(context, agent, ("real", "dream", "random"))
    video(context, agent)


def score(context: Context, agent: Agent, kinds: Sequence[str]) -> None:
    """Plays the agent in the game (`real`) and in the `dream`, and at `random` if that is a kind.

    Writes scores.json and returns.csv.
    """
    seeds = TEST[: context.config.evaluate.episodes]
    journal = Journal(context.state / "returns.jsonl")
    done = sum(len(played) for *_, played in journal.records)
    with Progress("evaluate", len(kinds) * len(seeds), "episodes", done) as progress:
        returns = play_real(context, seeds, [k for k in kinds if k != "dream"], journal, progress)
        workers = min(cores(agent.vae.device), DREAM_BATCHES)
        with closing(context.open_pool(workers)) as pool:
            dreams = ParallelEvaluator(agent.dreams, len(seeds), DREAM_BATCHES, pool)
            played = dreams.evaluate(agent.controller, seeds)
        returns["dream"] = played.returns[0]
        progress.advance(len(seeds))
    report(context, seeds, {kind: returns[kind] for kind in kinds})


def play_real(
    context: Context, seeds: range, kinds: Sequence[str], journal: Journal, progress: Progress
) -> dict[str, np.ndarray]:
    """Plays the agent, and at random if that is a kind, in the official game, on the same seeds.

    What the journal has is not played again.
    """
    returns = {kind: np.zeros(len(seeds)) for kind in kinds}
    jobs = []
    for kind in kinds:
        agent = None if kind == "random" else context.files.agent
        jobs += real_jobs(context.task.name, seeds, context.config.evaluate.lanes, agent)
    context.report_progress(len(journal.records), len(jobs), "jobs")
    done = [place for *place, _ in journal.records]
    left = [job for job in jobs if place_of(job) not in done]
    workers = context.params.general(MachineConfig).workers
    for job, played in play_jobs(left, workers, context.open_pool, context.playing_device):
        journal.append([*place_of(job), played.tolist()])
        progress.advance(len(played))
    for kind, first, played in journal.records:
        start = seeds.index(first)
        returns[kind][start : start + len(played)] = played
    return returns


def place_of(job: RealJob) -> list[str | int]:
    """Returns where a job's returns belong: their kind, and the first of their seeds."""
    return ["random" if job.agent is None else "real", job.seeds[0]]


def report(context: Context, seeds: range, returns: dict[str, np.ndarray]) -> None:
    """Writes scores.json and returns.csv."""
    scores: dict[str, object] = {"protocol": protocol(context.task, context.params.scale)}
    scores |= {kind: summary(played) for kind, played in returns.items()}
    gap = float(returns["dream"].mean() - returns["real"].mean())
    scores["dream_to_real_gap"] = round(gap, 2)
    for kind, played in returns.items():
        low, high = bootstrap_interval(played)
        figures = {"mean": played.mean(), "ci95_low": low, "ci95_high": high}
        context.tracking.log_metrics({f"{kind}/{k}": v for k, v in figures.items()})
    context.tracking.log_metrics({"dream_to_real_gap": gap})
    context.write_metrics("scores.json", scores)
    context.write_table(
        "returns.csv",
        [
            {"seed": seed} | {kind: round(float(played[i]), 3) for kind, played in returns.items()}
            for i, seed in enumerate(seeds)
        ],
    )


def video(context: Context, agent: Agent) -> None:
    """Makes a video of three panels: the game, V's reconstruction of it, and the agent's dream."""
    steps, file = context.config.evaluate.video_steps, context.files.report("agent.mp4")
    with Progress("evaluate, video", steps, "frames") as progress:
        save_video(file, progress.each(film(agent, TEST[0], steps)))
    context.tracking.log_artifact(file)


if __name__ == "__main__":
    main("evaluate", run, ["evaluate"])
