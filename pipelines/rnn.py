"""Stage rnn: trains M on the latents, and further M's that only dream."""

from collections.abc import Mapping
from dataclasses import replace

from pipelines.context import Context
from pipelines.stage import main
from world_models.data.store import EpisodeStore
from world_models.rnn.checkpoint import load_rnn, load_rnns, save_rnn, save_rnns
from world_models.rnn.model import MDNRNN
from world_models.rnn.training import RNNTraining, SequenceData
from world_models.runtime.errors import ConfigError
from world_models.training.checkpoint import batches_kept
from world_models.training.trainer import fit, seed_everything
from world_models.vae.checkpoint import load_vae

APART = 1000
"""Between the seeds of M and of the dreamers beside it; those of whole runs are smaller numbers."""


def run(context: Context) -> None:
    """Trains M and the dreamers, and reports their losses."""
    files, seed = context.files, context.params.seed
    seed_everything(seed)
    size = load_vae(files.model("vae")).sizes.latent_size
    latents = context.open_latents(size)
    rnn, metrics = train(context, latents, size, seed)
    if context.leads:
        save_rnn(files.model("rnn"), rnn, context.trained_on("last.ckpt"))
        context.tracking.log_artifact(files.model("rnn"))
    dreamers = []
    for number in range(1, context.config.rnn.dreamers + 1):
        own_seed = seed + number * APART
        seed_everything(own_seed)
        dreamer, losses = train(context, latents, size, own_seed, number)
        dreamers.append(dreamer)
        metrics |= {f"dreamer-{number}/{name}": value for name, value in losses.items()}
    if not context.leads:
        return
    save_rnns(files.model("dreamers"), dreamers, context.trained_on("dreamer-*/last.ckpt"))
    if dreamers:
        context.tracking.log_artifact(files.model("dreamers"))
    context.write_metrics("rnn.json", metrics)


def train(
    context: Context, latents: EpisodeStore, latent_size: int, seed: int, number: int = 0
) -> tuple[MDNRNN, dict[str, float]]:
    """Trains M, or the dreamer of a number from 1 on, and returns it with its last metrics.

    Raises ConfigError where the devices can't have as many lanes each.
    """
    config, devices = context.config.rnn, context.devices
    if config.lanes % devices.count:
        raise ConfigError(f"rnn.lanes: {config.lanes}: {devices.count} devices can't share them")
    name = f"dreamer-{number}" if number else "rnn"
    prefix, state = (f"{name}/", context.state / name) if number else ("", context.state)
    if context.leads:
        state.mkdir(exist_ok=True)
    module = RNNTraining(config, context.task, latent_size)
    if config.warm_start:
        module.rnn.load_state_dict(rnn_before(context, module.rnn, number).state_dict())
    kept = batches_kept(state / "last.ckpt", context.leads)
    context.report_progress(kept, config.batches, f"batches of {name}")

    def log(values: Mapping[str, float], batch: int) -> None:
        named = {f"{prefix}{key}": value for key, value in values.items()}
        context.tracking.log_metrics(named, batch)

    metrics = fit(
        module,
        SequenceData(latents, config, seed),
        label=name,
        batches=config.batches,
        validate_every=config.validate_every,
        precision=config.precision,
        log=log,
        state=state,
        gradient_clip=config.gradient_clip,
        devices=devices,
    )
    return module.rnn.eval(), metrics


def rnn_before(context: Context, needed: MDNRNN, number: int = 0) -> MDNRNN:
    """Reads M of the round before, or its dreamer of a number from 1 on.

    Raises ConfigError where there is none, or one of other sizes or heads. Ends may have weighed
    otherwise in its training.
    """
    files, sizes = context.before.files, needed.sizes
    fitting = sizes.latent_size, sizes.action_size
    if not number:
        file = files.model("rnn")
        found = load_rnn(file, *fitting)
    else:
        file = files.model("dreamers")
        dreamers = load_rnns(file, *fitting)
        if len(dreamers) < number:
            raise ConfigError(
                f"rnn.warm_start: {file}: {len(dreamers)} dreamers, no number {number}"
            )
        found = dreamers[number - 1]
    if replace(found.sizes, done_weight=sizes.done_weight) != sizes:
        raise ConfigError(f"rnn.warm_start: {file}: {found.sizes}; this round's is {sizes}")
    return found


if __name__ == "__main__":
    main("rnn", run, ["rnn"])
