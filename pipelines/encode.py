"""Stage encode: mu and log sigma^2 of every frame of the data set."""

import filecmp

from pipelines.stage import Stage, main
from world_models.config import EncodeConfig
from world_models.data.store import EpisodeStore, add_shards, link_shards, whole_shards
from world_models.encoding import encode
from world_models.execution import best_device
from world_models.models.checkpoint import load_vae
from world_models.models.inference import for_inference
from world_models.models.precision import weights_dtype
from world_models.progress import Progress


def run(stage: Stage) -> None:
    """Encodes the store shard by shard."""
    config = stage.section(EncodeConfig)
    store = EpisodeStore(stage.episodes)
    dtype = weights_dtype(config.precision)
    vae = for_inference(load_vae(stage.model("vae")), best_device(), dtype)
    frames = sum(at.length + 1 for at in store.episodes())
    made = stage.state / "latents"
    stage.goes_on(len(whole_shards(made)), len(store.shards), "shards")
    if stage.params.after is not None and same_vae(stage, stage.before):
        made.mkdir(exist_ok=True)
        add_shards(EpisodeStore(stage.before.latents), made)
    with Progress("encode", frames, "frames") as progress:
        for count in encode(store, vae, made, config.batch_size):
            progress.advance(count)
    link_shards(made, stage.latents)
    stage.run.log_metrics({"frames": frames})


def same_vae(stage: Stage, before: Stage) -> bool:
    """Whether the latents of the round before are as good as new."""
    return filecmp.cmp(stage.model("vae"), before.model("vae"), shallow=False) and (
        stage.params.section(EncodeConfig).precision
        == before.params.section(EncodeConfig).precision
    )


if __name__ == "__main__":
    main("encode", run)
