"""Stage vae: trains V on the frames of the data set."""

import numpy as np

from pipelines.context import Context
from pipelines.stage import main
from world_models.data.datasets import split_episodes
from world_models.data.store import EpisodeStore
from world_models.reporting.pictures import save_reconstructions
from world_models.runtime.errors import ConfigError
from world_models.training.checkpoint import batches_kept
from world_models.training.trainer import fit, seed_everything
from world_models.vae.checkpoint import load_vae, save_vae
from world_models.vae.model import VAE
from world_models.vae.training import FrameData, VAETraining

PICTURED = 10
"""Held-out frames in the picture of reconstructions."""


def run(context: Context) -> None:
    """Trains V, and draws held-out frames beside their reconstructions."""
    config, files = context.config.vae, context.files
    seed_everything(context.params.seed)
    store = EpisodeStore(files.episodes)
    module = VAETraining(config)
    if config.warm_start:
        module.vae.load_state_dict(vae_before(context).state_dict())
    metrics = train(context, module, store) if config.batches else {}
    if not context.leads:
        return
    vae = module.vae.eval()
    save_vae(files.model("vae"), vae, context.trained_on("last.ckpt"))
    context.tracking.log_artifact(files.model("vae"))
    save_reconstructions(files.report("reconstructions.png"), vae, pictured_frames(store))
    context.tracking.log_artifact(files.report("reconstructions.png"))
    context.write_metrics("vae.json", metrics)


def vae_before(context: Context) -> VAE:
    """Reads V of the round before; raises ConfigError where its latents are of another size."""
    file, needed = context.before.files.model("vae"), context.config.vae.latent_size
    found = load_vae(file)
    if found.sizes.latent_size != needed:
        raise ConfigError(
            f"vae.warm_start: {file}: latents of {found.sizes.latent_size}; "
            f"this round's are of {needed}"
        )
    return found


def train(context: Context, module: VAETraining, store: EpisodeStore) -> dict[str, float]:
    """Trains V, and returns its last metrics."""
    config = context.config.vae
    kept = batches_kept(context.state / "last.ckpt", context.leads)
    context.report_progress(kept, config.batches, "batches")
    return fit(
        module,
        FrameData(store, config, context.params.seed),
        label="vae",
        batches=config.batches,
        validate_every=config.validate_every,
        precision=config.precision,
        log=context.tracking.log_metrics,
        state=context.state,
        devices=context.devices,
    )


def pictured_frames(store: EpisodeStore) -> np.ndarray:
    """Returns frames of held-out episodes, spread over their length: (PICTURED, 64, 64, 3)."""
    _, held_out = split_episodes(store)
    frames = []
    for i in range(PICTURED):
        at = held_out[i % len(held_out)]
        t = at.length * (i + 1) // (PICTURED + 1)
        frames.append(store.read_frames(at, "frames", t, t + 1)[0])
    return np.stack(frames)


if __name__ == "__main__":
    main("vae", run, ["vae"])
