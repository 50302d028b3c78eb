"""Stage evaluate: the agent on held-out seeds, in the real world, in the dream and at random."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain

import numpy as np

from pipelines.film import watch
from pipelines.latents import open_latents
from pipelines.stage import Stage, main
from pipelines.worlds import Dreams, open_dreams
from world_models.config import EvaluateConfig
from world_models.evaluation import (
    RealJob,
    agent_to_score,
    bootstrap_interval,
    play_jobs,
    protocol,
    real_jobs,
    real_world,
    summary,
)
from world_models.evolution.fitness import Arena
from world_models.execution import cores
from world_models.execution.crew import Crew
from world_models.journal import Journal
from world_models.models.agent import Agent
from world_models.pictures import beside, save_video
from world_models.progress import Progress
from world_models.seeds import TEST
from world_models.worlds.pixels import open_lanes
from world_models.worlds.world import World


def run(stage: Stage) -> None:
    """Scores the agent, and films it."""
    agent, dream = open_agent(stage)
    score(stage, agent, dream, ("real", "dream", "random"))
    film(stage, agent, dream(1), TEST[0], stage.section(EvaluateConfig).video_steps)


def open_agent(stage: Stage) -> tuple[Agent, Dreams]:
    """V, M and C, and what opens M's dreams for them, at the temperature that C was evolved at."""
    agent = agent_to_score(stage.task, stage.agent)
    latents = open_latents(stage, agent.vae.sizes.latent_size)
    dream = open_dreams(stage, latents, agent.rnn, agent.controller.sizes.cell, agent.vae)
    temperature = stage.read_metric("controller.json", "temperature")
    return agent, replace(dream, temperature=temperature)


def score(stage: Stage, agent: Agent, dream: Dreams, kinds: Sequence[str]) -> None:
    """Plays the agent in the game (`real`) and in the `dream`, and at `random` if that is a kind.

    Writes scores.json and returns.csv.
    """
    config = stage.section(EvaluateConfig)
    seeds = TEST[: config.episodes]
    with Progress("evaluate", len(kinds) * len(seeds), "episodes") as progress:
        returns = play_real(stage, config, seeds, [k for k in kinds if k != "dream"], progress)
        with closing(Crew(cores(agent.vae.device))) as crew:
            played = Arena(dream, len(seeds), crew).score(agent.controller, seeds)
        returns["dream"] = played.returns[0]
        progress.advance(len(seeds))
    report(stage, seeds, {kind: returns[kind] for kind in kinds})


def play_real(
    stage: Stage,
    config: EvaluateConfig,
    seeds: range,
    kinds: Sequence[str],
    progress: Progress,
) -> dict[str, np.ndarray]:
    """The agent, and random play if that is a kind, in the official game, on the same seeds."""
    name, returns = stage.task.name, {kind: np.zeros(len(seeds)) for kind in kinds}
    jobs = []
    for kind in kinds:
        agent = None if kind == "random" else stage.agent
        jobs += real_jobs(name, seeds, config.lanes, agent)
    journal = Journal(stage.state / "returns.jsonl")
    stage.goes_on(len(journal.records), len(jobs), "jobs")
    progress.advance(sum(len(played) for *_, played in journal.records))
    done = [place for *place, _ in journal.records]
    left = [job for job in jobs if place_of(job) not in done]
    for job, played in play_jobs(left, config.workers):
        journal.append([*place_of(job), played.tolist()])
        progress.advance(len(played))
    for kind, first, played in journal.records:
        start = seeds.index(first)
        returns[kind][start : start + len(played)] = played
    return returns


def place_of(job: RealJob) -> list[str | int]:
    """Where a job's returns belong: their kind, and the first of their seeds."""
    return ["random" if job.agent is None else "real", job.seeds[0]]


def report(stage: Stage, seeds: range, returns: dict[str, np.ndarray]) -> None:
    """Writes scores.json and returns.csv."""
    scores: dict[str, object] = {"protocol": protocol(stage.task, stage.params.scale)}
    scores |= {kind: summary(played) for kind, played in returns.items()}
    gap = float(returns["dream"].mean() - returns["real"].mean())
    scores["dream_to_real_gap"] = round(gap, 2)
    for kind, played in returns.items():
        low, high = bootstrap_interval(played)
        figures = {"mean": played.mean(), "ci95_low": low, "ci95_high": high}
        stage.run.log_metrics({f"{kind}/{k}": v for k, v in figures.items()})
    stage.run.log_metrics({"dream_to_real_gap": gap})
    stage.write_metrics("scores.json", scores)
    stage.write_table(
        "returns.csv",
        [
            {"seed": seed} | {kind: round(float(played[i]), 3) for kind, played in returns.items()}
            for i, seed in enumerate(seeds)
        ],
    )


def film(stage: Stage, agent: Agent, dream: World, seed: int, steps: int) -> None:
    """A video of three panels: the game, V's reconstruction of it, and the agent in its dream."""

    def frames() -> Iterator[np.ndarray]:
        worlds = (watch(world, agent, seed, steps) for world in (real, dream))
        for shown in zip(*worlds, strict=True):
            yield beside(*chain(*shown))
            progress.advance()

    with (
        closing(open_lanes(stage.task, 1, "gymnasium")) as lanes,
        Progress("evaluate, video", steps, "frames") as progress,
    ):
        real = real_world(stage.task, lanes, agent)
        save_video(stage.report("agent.mp4"), frames())
    stage.run.log_artifact(stage.report("agent.mp4"))


if __name__ == "__main__":
    main("evaluate", run)
