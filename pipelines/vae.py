"""Stage vae: trains V on the frames of the data set."""

import numpy as np
import pytorch_lightning as pl

from pipelines.stage import Stage, main
from world_models.config import VAEConfig
from world_models.data.datasets import split_episodes
from world_models.data.store import EpisodeStore
from world_models.errors import ConfigError
from world_models.models.checkpoint import load_vae, save_vae
from world_models.models.vae import VAE
from world_models.pictures import save_reconstructions
from world_models.training.resume import batches_kept
from world_models.training.trainer import fit
from world_models.training.vae import FrameData, VAETraining

PICTURED = 10


def run(stage: Stage) -> None:
    """Trains V, and draws held-out frames beside their reconstructions."""
    config = stage.section(VAEConfig)
    pl.seed_everything(stage.params.seed, verbose=False)
    store = EpisodeStore(stage.episodes)
    module = VAETraining(config)
    if config.warm_start:
        module.vae.load_state_dict(vae_before(stage, config).state_dict())
    metrics = train(stage, module, store, config) if config.batches else {}
    vae = module.vae.eval()
    save_vae(stage.model("vae"), vae)
    stage.run.log_artifact(stage.model("vae"))
    save_reconstructions(stage.report("reconstructions.png"), vae, pictured_frames(store))
    stage.run.log_artifact(stage.report("reconstructions.png"))
    stage.write_metrics("vae.json", metrics)


def vae_before(stage: Stage, config: VAEConfig) -> VAE:
    """V of the round before; raises ConfigError where its latents are of another size."""
    found = load_vae(stage.before.model("vae"))
    if found.sizes.latent_size != config.latent_size:
        raise ConfigError(
            f"vae.warm_start: {stage.before.model('vae')}: latents of {found.sizes.latent_size}; "
            f"this round's are of {config.latent_size}"
        )
    return found


def train(
    stage: Stage, module: VAETraining, store: EpisodeStore, config: VAEConfig
) -> dict[str, float]:
    """Trains V, and returns its last metrics."""
    stage.goes_on(batches_kept(stage.state / "last.ckpt"), config.batches, "batches")
    return fit(
        module,
        FrameData(store, config, stage.params.seed),
        label="vae",
        batches=config.batches,
        validate_every=config.validate_every,
        precision=config.precision,
        log=stage.run.log_metrics,
        state=stage.state,
    )


def pictured_frames(store: EpisodeStore) -> np.ndarray:
    """Frames of held-out episodes, spread over their length: (PICTURED, 64, 64, 3)."""
    _, held_out = split_episodes(store)
    frames = []
    for i in range(PICTURED):
        at = held_out[i % len(held_out)]
        t = at.length * (i + 1) // (PICTURED + 1)
        frames.append(store.read_frames(at, "frames", t, t + 1)[0])
    return np.stack(frames)


if __name__ == "__main__":
    main("vae", run)
