"""Stage rnn: trains M on the latents."""

import pytorch_lightning as pl

from pipelines.latents import open_latents
from pipelines.stage import Stage, main
from world_models.config import RNNConfig
from world_models.errors import ConfigError
from world_models.models.checkpoint import load_rnn, load_vae, save_rnn
from world_models.models.mdnrnn import MDNRNN
from world_models.training.resume import batches_kept
from world_models.training.rnn import RNNTraining, SequenceData
from world_models.training.trainer import fit


def run(stage: Stage) -> None:
    """Trains M and reports its losses."""
    config = stage.section(RNNConfig)
    pl.seed_everything(stage.params.seed, verbose=False)
    latent_size = load_vae(stage.model("vae")).sizes.latent_size
    latents = open_latents(stage, latent_size)
    module = RNNTraining(config, stage.task, latent_size)
    if config.warm_start:
        module.rnn.load_state_dict(rnn_before(stage, module.rnn).state_dict())
    stage.goes_on(batches_kept(stage.state / "last.ckpt"), config.batches, "batches")
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
    save_rnn(stage.model("rnn"), module.rnn.eval())
    stage.run.log_artifact(stage.model("rnn"))
    stage.write_metrics("rnn.json", metrics)


def rnn_before(stage: Stage, needed: MDNRNN) -> MDNRNN:
    """M of the round before; raises ConfigError where it has other sizes or heads."""
    file = stage.before.model("rnn")
    found = load_rnn(file, needed.sizes.latent_size, needed.sizes.action_size)
    if found.sizes != needed.sizes:
        raise ConfigError(f"rnn.warm_start: {file}: {found.sizes}; this round's is {needed.sizes}")
    return found


if __name__ == "__main__":
    main("rnn", run)
