"""Stage rnn: trains M on the latents, and holds its dream against the data."""

import sys

import numpy as np
import pytorch_lightning as pl

from pipelines.stage import Stage, main
from pipelines.worlds import open_dream
from world_models.collecting import random_policy
from world_models.config import CollectConfig, DreamConfig, RNNConfig
from world_models.data.store import EpisodeStore
from world_models.honesty import Still, disagreement, dreamed_returns, still_returns
from world_models.models.checkpoint import load_vae, save_rnn
from world_models.models.mdnrnn import MDNRNN
from world_models.seeds import VALIDATE
from world_models.training.rnn import RNNTraining, SequenceData
from world_models.training.trainer import fit

HONEST = 0.2
"""How far a dream's survival may be from the game's before the stage says so."""


def run(stage: Stage) -> None:
    """Trains M and reports its losses and its honesty."""
    config = stage.params.section(RNNConfig)
    stage.run.log_params(config.model_dump())
    pl.seed_everything(stage.params.seed, verbose=False)
    latents = EpisodeStore(stage.latents)
    latent_size = load_vae(stage.model("vae")).sizes.latent_size
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
    metrics |= honesty(stage, rnn, latents)
    stage.run.log_metrics({k: v for k, v in metrics.items() if k.startswith("honesty")})
    stage.write_metrics("rnn.json", metrics)


def honesty(stage: Stage, rnn: MDNRNN, latents: EpisodeStore) -> dict[str, float]:
    """Mean returns of the collecting policy and of doing nothing, dreamed and real."""
    config = stage.params.section(DreamConfig)
    collected = stage.params.section(CollectConfig)
    seeds = VALIDATE[: config.honesty_episodes]
    policies = [random_policy(stage.task, collected, stage.params.seed, seed) for seed in seeds]
    vae = load_vae(stage.model("vae")) if collected.policy == "random-network" else None
    dream = open_dream(stage.task, rnn, latents, config, len(seeds), cell=False, vae=vae)
    stood = still_returns(stage.task, collected.simulator, seeds)
    still = [Still(stage.task.action_size)] * len(seeds)
    sides = {
        "collection": (dreamed_returns(dream, policies, seeds), collected_returns(latents)),
        "still": (dreamed_returns(dream, still, seeds), stood),
    }
    metrics = {}
    for name, (dreamed, real) in sides.items():
        metrics[f"honesty/{name}_dream"] = float(dreamed.mean())
        metrics[f"honesty/{name}_real"] = float(real.mean())
        metrics[f"honesty/{name}_disagreement"] = off = disagreement(dreamed, real)
        if off > HONEST:
            print(f"rnn: the dream is off by {off:.0%} for policy {name}", file=sys.stderr)
    return metrics


def collected_returns(store: EpisodeStore) -> np.ndarray:
    """Sums of rewards of the data set's episodes."""
    return np.asarray([store.read(at).steps["rewards"].sum() for at in store.episodes()])


if __name__ == "__main__":
    main("rnn", run)
