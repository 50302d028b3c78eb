"""Stage honesty: holds M's dream against the game and the data set, under simple policies."""

import sys

import numpy as np

from pipelines.latents import open_latents
from pipelines.stage import Stage, main
from pipelines.worlds import open_dreams
from world_models.collecting.players import random_policy
from world_models.config import CollectConfig, DreamConfig
from world_models.data.store import EpisodeStore
from world_models.execution import best_device
from world_models.honesty import Still, disagreement, dreamed, stand_still
from world_models.models.checkpoint import load_rnn, load_vae
from world_models.models.inference import for_inference
from world_models.progress import Progress
from world_models.seeds import VALIDATE
from world_models.worlds.rollout import Played

HONEST = 0.2
"""How far a dream's survival may be from the game's before the stage says so."""


def run(stage: Stage) -> None:
    """Reports how long the collecting policy and doing nothing last, and what they earn."""
    config, collecting = stage.section(DreamConfig), stage.section(CollectConfig)
    seeds = VALIDATE[: config.honesty_episodes]
    policies = [random_policy(stage.task, collecting, stage.params.seed, seed) for seed in seeds]
    vae = for_inference(load_vae(stage.model("vae")), best_device())
    size = vae.sizes.latent_size
    file = stage.model("rnn")
    rnn = for_inference(load_rnn(file, size, stage.task.action_size), best_device())
    latents = open_latents(stage, size)
    sees = collecting.policy == "random-network"
    dream = open_dreams(stage, latents, rnn, cell=False, vae=vae if sees else None)(len(seeds))
    with Progress("honesty", 2, "policies") as progress:
        collected = long_ones(dreamed(dream, policies, seeds), collecting.shortest)
        metrics = compare("collection", collected, played_in(latents))
        progress.advance()
        still = dreamed(dream, [Still(stage.task)] * len(seeds), seeds)
        in_game = stand_still(stage.task, collecting.simulator, seeds)
        metrics |= compare("still", still, in_game)
        progress.advance()
    stage.run.log_metrics(metrics)
    stage.write_metrics("honesty.json", metrics)


def long_ones(played: Played, shortest: int) -> Played:
    """The episodes over `shortest` steps, as the data set holds no others; all if none is."""
    kept = played.lengths > shortest
    return Played(*(figure[kept] for figure in played)) if kept.any() else played


def compare(policy: str, in_dream: Played, in_game: Played) -> dict[str, float]:
    """A policy's figures in both worlds; says so where the dream is far off."""
    off = disagreement(in_dream.lengths, in_game.lengths)
    if off > HONEST:
        print(f"honesty: the dream is off by {off:.0%} for policy {policy}", file=sys.stderr)
    figures = {f"{policy}_disagreement": off}
    for world, played in (("dream", in_dream), ("real", in_game)):
        figures[f"{policy}_{world}_survival"] = float(played.lengths.mean())
        figures[f"{policy}_{world}_return"] = float(played.returns.mean())
    return figures


def played_in(store: EpisodeStore) -> Played:
    """Returns and lengths of the data set's episodes."""
    at = store.episodes()
    returns = [store.read(episode).steps["rewards"].sum() for episode in at]
    return Played(np.asarray(returns), np.asarray([episode.length for episode in at]))


if __name__ == "__main__":
    main("honesty", run)
