"""Stage encode: mu and log sigma^2 of every frame of the data set, and of the first ones beside."""

import filecmp
from contextlib import closing

from pipelines.context import Context
from pipelines.stage import main
from world_models.data.store import EpisodeStore, add_shards, link_shards, whole_shards
from world_models.runtime.devices import cores
from world_models.runtime.precision import weights_dtype
from world_models.runtime.progress import Progress
from world_models.vae.checkpoint import load_vae
from world_models.vae.encoding import encode, first_latents
from world_models.vae.inference import vae_for_inference
from world_models.vae.starts import save_starts


def run(context: Context) -> None:
    """Encodes the store shard by shard, and keeps the latents that dreams begin from."""
    config, files = context.config.encode, context.files
    store = EpisodeStore(files.episodes)
    dtype = weights_dtype(config.precision)
    vae = vae_for_inference(load_vae(files.model("vae")), context.playing_device, dtype)
    frames = sum(at.length + 1 for at in store.episodes())
    made = context.state / "latents"
    context.report_progress(len(whole_shards(made)), len(store.shards), "shards")
    if context.adds_to_data and same_vae(context, context.before):
        made.mkdir(exist_ok=True)
        add_shards(EpisodeStore(context.before.files.latents), made)
    workers = min(cores(vae.device), len(store.shards))
    with (
        closing(context.open_pool(workers)) as pool,
        Progress("encode", frames, "frames") as progress,
    ):
        for count in encode(store, vae, made, config.batch_size, pool):
            progress.advance(count)
    link_shards(made, files.latents)
    save_starts(files.model("starts"), first_latents(EpisodeStore(files.latents), config.starts))
    context.tracking.log_metrics({"frames": frames})


def same_vae(context: Context, before: Context) -> bool:
    """Returns whether the latents of the round before are as good as new."""
    now, then = (one.files.model("vae") for one in (context, before))
    same_precision = context.config.encode.precision == before.config.encode.precision
    return same_precision and filecmp.cmp(now, then, shallow=False)


if __name__ == "__main__":
    main("encode", run, ["encode"])
