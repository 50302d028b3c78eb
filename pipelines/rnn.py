"""Stage rnn: trains M on the latents."""

from dataclasses import replace

from pipelines.context import Context, main
from world_models.rnn.checkpoint import load_rnn, save_rnn
from world_models.rnn.model import MDNRNN
from world_models.rnn.training import RNNTraining, SequenceData
from world_models.runtime.errors import ConfigError
from world_models.training.checkpoint import batches_kept
from world_models.training.trainer import fit, seed_everything
from world_models.vae.checkpoint import load_vae


def run(context: Context) -> None:
    """Trains M and reports its losses."""
    config, files = context.config.rnn, context.files
    seed_everything(context.params.seed)
    latent_size = load_vae(files.model("vae")).sizes.latent_size
    latents = context.open_latents(latent_size)
    module = RNNTraining(config, context.task, latent_size)
    if config.warm_start:
        module.rnn.load_state_dict(rnn_before(context, module.rnn).state_dict())
    context.report_progress(batches_kept(context.state / "last.ckpt"), config.batches, "batches")
    metrics = fit(
        module,
        SequenceData(latents, config, context.params.seed),
        label="rnn",
        batches=config.batches,
        validate_every=config.validate_every,
        precision=config.precision,
        log=context.tracking.log_metrics,
        state=context.state,
        gradient_clip=config.gradient_clip,
    )
    save_rnn(files.model("rnn"), module.rnn.eval())
    context.tracking.log_artifact(files.model("rnn"))
    context.write_metrics("rnn.json", metrics)


def rnn_before(context: Context, needed: MDNRNN) -> MDNRNN:
    """Reads M of the round before; raises ConfigError where it has other sizes or heads.

    Ends may have weighed otherwise in its training.
    """
    file = context.before.files.model("rnn")
    found = load_rnn(file, needed.sizes.latent_size, needed.sizes.action_size)
    if replace(found.sizes, done_weight=needed.sizes.done_weight) != needed.sizes:
        raise ConfigError(f"rnn.warm_start: {file}: {found.sizes}; this round's is {needed.sizes}")
    return found


if __name__ == "__main__":
    main("rnn", run, ["rnn"])
