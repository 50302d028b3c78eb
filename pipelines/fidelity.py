"""Stage fidelity: holds M's dream against the game and the data set, under simple policies."""

import sys

import numpy as np

from pipelines.context import Context, main
from world_models.collecting.policies import random_policy
from world_models.data.seeds import VALIDATE
from world_models.data.store import EpisodeStore
from world_models.evaluation.fidelity import Still, disagreement, dreamed, stand_still
from world_models.rnn.checkpoint import load_rnn
from world_models.rnn.inference import rnn_for_inference
from world_models.runtime.devices import best_device
from world_models.runtime.progress import Progress
from world_models.vae.checkpoint import load_vae
from world_models.vae.inference import vae_for_inference
from world_models.worlds.dream import DreamFactory, DreamWorld, first_latents
from world_models.worlds.rollout import Played

TRUE_TO = 0.2
"""How far a dream's survival may be from the game's before the stage says so, as a share of it."""


def run(context: Context) -> None:
    """Reports how long doing nothing lasts in both worlds, what it earns, and the same of the
    collecting policy, where that is a random one."""
    collecting = context.config.collect
    seeds = VALIDATE[: context.config.fidelity.episodes]
    latents, dream = open_dream(context, len(seeds))
    metrics: dict[str, float] = {}
    with Progress("fidelity", 2, "policies") as progress:
        if collecting.policy != "agent":
            of_run = context.task, collecting, context.params.seed
            policies = [random_policy(*of_run, seed) for seed in seeds]
            collected = long_ones(dreamed(dream, policies, seeds), collecting.shortest)
            metrics |= compare("collection", collected, played_in(latents))
        progress.advance()
        still = dreamed(dream, [Still(context.task)] * len(seeds), seeds)
        metrics |= compare("still", still, stand_still(context.task, collecting.simulator, seeds))
        progress.advance()
    context.tracking.log_metrics(metrics)
    context.write_metrics("fidelity.json", metrics)


def open_dream(context: Context, lanes: int) -> tuple[EpisodeStore, DreamWorld]:
    """Opens the data set through V, and M's dream, which draws pictures if the policy looks at
    them."""
    files, device = context.files, best_device()
    vae = vae_for_inference(load_vae(files.model("vae")), device)
    size = vae.sizes.latent_size
    rnn = rnn_for_inference(load_rnn(files.model("rnn"), size, context.task.action_size), device)
    latents = context.open_latents(size)
    sees = context.config.collect.policy == "random-network"
    starts = first_latents(latents, context.config.dream.starts)
    dreams = DreamFactory(
        context.task, rnn, rnn, starts, context.config.dream, cell=False, vae=vae if sees else None
    )
    return latents, dreams(lanes)


def long_ones(played: Played, shortest: int) -> Played:
    """Returns the episodes over `shortest` steps, as the data set holds no others; all if none is
    that long."""
    kept = played.lengths > shortest
    return Played(*(figure[kept] for figure in played)) if kept.any() else played


def compare(policy: str, in_dream: Played, in_game: Played) -> dict[str, float]:
    """Returns a policy's figures in both worlds; says so where the dream is far off."""
    off = disagreement(in_dream.lengths, in_game.lengths)
    if off > TRUE_TO:
        print(f"fidelity: the dream is off by {off:.0%} for policy {policy}", file=sys.stderr)
    figures = {f"{policy}_disagreement": off}
    for world, played in (("dream", in_dream), ("real", in_game)):
        figures[f"{policy}_{world}_survival"] = float(played.lengths.mean())
        figures[f"{policy}_{world}_return"] = float(played.returns.mean())
    return figures


def played_in(store: EpisodeStore) -> Played:
    """Returns what the data set's episodes earned, and how long they are."""
    at = store.episodes()
    returns = [store.read(episode).steps["rewards"].sum() for episode in at]
    return Played(np.asarray(returns), np.asarray([episode.length for episode in at]))


if __name__ == "__main__":
    main("fidelity", run, ["collect", "dream", "fidelity"])
