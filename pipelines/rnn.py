"""Stage rnn: trains M on the latents, and holds its dream against the data."""

import sys

import numpy as np
import pytorch_lightning as pl

from pipelines.stage import Stage, main
from pipelines.worlds import open_dreams, open_latents
from world_models.collecting import random_policy
from world_models.config import CollectConfig, DreamConfig, RNNConfig
from world_models.data.store import EpisodeStore
from world_models.execution import best_device
from world_models.honesty import Still, disagreement, dreamed, stand_still
from world_models.models.checkpoint import load_vae, save_rnn
from world_models.models.mdnrnn import MDNRNN
from world_models.progress import Progress
from world_models.seeds import VALIDATE
from world_models.training.rnn import RNNTraining, SequenceData
from world_models.training.trainer import fit
from world_models.worlds.rollout import Played

HONEST = 0.2
"""How far a dream's survival may be from the game's before the stage says so."""


def run(stage: Stage) -> None:
    """Trains M and reports its losses and its honesty."""
    config = stage.section(RNNConfig)
    pl.seed_everything(stage.params.seed, verbose=False)
    latent_size = load_vae(stage.model("vae")).sizes.latent_size
    latents = open_latents(stage, latent_size)
    module = RNNTraining(config, stage.task, latent_size)
    metrics = fit(
        module,
        SequenceData(latents, config, stage.params.seed),
        label="rnn",
        batches=config.batches,
        validate_every=config.validate_every,
        precision=config.precision,
        log=stage.run.log_metrics,
        state=stage.state,
        gradient_clip=config.gradient_clip,
    )
    rnn = module.rnn.eval().requires_grad_(False)
    save_rnn(stage.model("rnn"), rnn)
    stage.run.log_artifact(stage.model("rnn"))
    metrics |= honesty(stage, rnn.to(best_device()), latents)
    stage.run.log_metrics({k: v for k, v in metrics.items() if k.startswith("honesty")})
    stage.write_metrics("rnn.json", metrics)


def honesty(stage: Stage, rnn: MDNRNN, latents: EpisodeStore) -> dict[str, float]:
    """How long the collecting policy and doing nothing last, and what they earn, in both worlds."""
    config, collecting = stage.section(DreamConfig), stage.section(CollectConfig)
    seeds = VALIDATE[: config.honesty_episodes]
    policies = [random_policy(stage.task, collecting, stage.params.seed, seed) for seed in seeds]
    sees = collecting.policy == "random-network"
    vae = load_vae(stage.model("vae")).to(rnn.device) if sees else None
    dream = open_dreams(stage, latents, rnn, cell=False, vae=vae)(len(seeds))
    with Progress("rnn, honesty", 2, "policies") as progress:
        collected = long_ones(dreamed(dream, policies, seeds), collecting.shortest)
        metrics = compare("collection", collected, played_in(latents))
        progress.advance()
        still = dreamed(dream, [Still(stage.task)] * len(seeds), seeds)
        in_game = stand_still(stage.task, collecting.simulator, seeds)
        metrics |= compare("still", still, in_game)
        progress.advance()
    return metrics


def long_ones(played: Played, shortest: int) -> Played:
    """The episodes over `shortest` steps, as the data set holds no others; all if none is."""
    kept = played.lengths > shortest
    return Played(*(figure[kept] for figure in played)) if kept.any() else played


def compare(policy: str, in_dream: Played, in_game: Played) -> dict[str, float]:
    """A policy's figures in both worlds; says so where the dream is far off."""
    off = disagreement(in_dream.lengths, in_game.lengths)
    if off > HONEST:
        print(f"rnn: the dream is off by {off:.0%} for policy {policy}", file=sys.stderr)
    figures = {f"honesty/{policy}_disagreement": off}
    for world, played in (("dream", in_dream), ("real", in_game)):
        figures[f"honesty/{policy}_{world}_survival"] = float(played.lengths.mean())
        figures[f"honesty/{policy}_{world}_return"] = float(played.returns.mean())
    return figures


def played_in(store: EpisodeStore) -> Played:
    """Returns and lengths of the data set's episodes."""
    at = store.episodes()
    returns = [store.read(episode).steps["rewards"].sum() for episode in at]
    return Played(np.asarray(returns), np.asarray([episode.length for episode in at]))


if __name__ == "__main__":
    main("rnn", run)
