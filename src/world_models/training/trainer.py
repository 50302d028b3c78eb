"""The Trainer that both V and M are trained with."""

import logging
import os
import signal
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from world_models.runtime.config import Precision
from world_models.runtime.errors import DivergedError, WorldModelsError
from world_models.runtime.precision import training_precision
from world_models.runtime.progress import Progress
from world_models.training.checkpoint import AtomicCheckpointIO, KeepCheckpoint, batches_kept
from world_models.training.ranks import ONE_DEVICE, Devices, mean, of_all

# Lightning under this torch; nothing that a user could fix.
PYTREE_WARNING = r"`isinstance\(treespec, LeafSpec\)` is deprecated"

LOG_EVERY = 20
"""Batches; the metrics of those between are not kept."""

Log = Callable[[Mapping[str, float], int], None]
"""Takes metrics and the batch that they belong to."""


class MetricsLogger(Logger):
    """Hands Lightning's metrics on to a function."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self.log = log

    @property
    def name(self) -> str:
        """The name that Lightning asks for."""
        return "metrics"

    @property
    def version(self) -> str:
        """The version that Lightning asks for: there is none."""
        return ""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Hands them on, without Lightning's own count of epochs."""
        self.log({k: v for k, v in metrics.items() if k != "epoch"}, step or 0)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the stage logs its parameters itself."""


class KeepTogether(Callback):
    """Sees that all ranks begin at one batch, and makes of their parts of its loss the whole."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Raises WorldModelsError where not all see the same checkpoint."""
        seen = of_all(torch.tensor([trainer.global_step], device=module.device)).unique().tolist()
        if len(seen) > 1:
            raise WorldModelsError(
                f"the processes would go on after {' and '.join(map(str, seen))} batches: "
                "all machines must have the same .state/, on a disk that they share"
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *batch: Any
    ) -> None:
        """Replaces a rank's part, for the callbacks after this."""
        outputs["loss"] = mean(outputs["loss"])


class StopWhereNotFinite(Callback):
    """Ends a training whose loss or weights are no longer finite, before they are kept."""

    def __init__(self, kept: Path, keep_every: int) -> None:
        self.kept, self.keep_every = kept, keep_every

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *batch: Any
    ) -> None:
        """Looks at each batch's loss, and at the weights where a checkpoint of them is due."""
        loss = outputs["loss"]
        if not torch.isfinite(loss):
            raise DivergedError(
                f"the loss became {loss.item()} at batch {trainer.global_step}: lower "
                f"learning_rate in params.yaml{self._what_is_kept()}"
            )
        if trainer.global_step % self.keep_every == 0:
            self._require_finite(module)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Looks at the weights that the training ends with."""
        self._require_finite(module)

    def _require_finite(self, module: torch.nn.Module) -> None:
        if not all(parameter.isfinite().all() for parameter in module.parameters()):
            raise DivergedError(
                "the weights are no longer finite: lower learning_rate in params.yaml"
                + self._what_is_kept()
            )

    def _what_is_kept(self) -> str:
        return f" (the last good checkpoint is {self.kept})" if self.kept.exists() else ""


class ShowProgress(Callback):
    """A bar or lines, in batches."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *batch: Any
    ) -> None:
        """Counts a batch."""
        self.progress.advance(figures={"loss": float(outputs["loss"])})


def fit(
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    *,
    label: str,
    batches: int,
    validate_every: int,
    precision: Precision,
    log: Log,
    state: Path,
    gradient_clip: float | None = None,
    devices: Devices = ONE_DEVICE,
) -> dict[str, float]:
    """Trains for a number of batches, validating and keeping a checkpoint every few.

    Returns the last metrics of training and validation. A training that was killed goes on from
    its checkpoint, and ends with the weights and metrics that it would have had; one that had
    ended returns them. (On one machine, with as many threads of torch, and on a CPU.)

    On several devices a process for each trains its part of the same batches. Where the first of
    a machine isn't one of torchrun's, it starts the others: they run its command once more.

    Args:
        state: the folder of the checkpoint, `last.ckpt`, of this training and no other; an empty
            one makes it start afresh.
        gradient_clip: each gradient value is clipped to +- this.
        devices: a process whose rank is above 0 shows, logs and writes nothing.

    Raises:
        ConfigError: this machine can't compute in that precision, or has fewer devices.
        DivergedError: the loss is not finite any more; the checkpoint before that is kept.
        WorldModelsError: the processes of several machines see different checkpoints.
        KeyboardInterrupt: on Ctrl-C.
    """
    precision = training_precision(precision)
    devices.require()
    _quieten()
    kept = state / "last.ckpt"
    done = batches_kept(kept, devices.leads)
    keep = KeepCheckpoint(kept, devices.count)
    progress = Progress(label, batches, "batches", done) if devices.leads else None
    # Lightning would begin with its seed anew where it makes several processes one group.
    os.environ.pop("PL_GLOBAL_SEED", None)
    trainer = pl.Trainer(
        max_steps=batches,
        val_check_interval=min(validate_every, batches),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        precision=precision,
        gradient_clip_val=gradient_clip,
        gradient_clip_algorithm="value" if gradient_clip else None,
        logger=MetricsLogger(log if devices.leads else _nothing),
        log_every_n_steps=LOG_EVERY,
        devices=devices.devices,
        num_nodes=devices.num_nodes,
        strategy="auto" if devices.are_one else DDPStrategy(forward_sync_buffers=False),
        callbacks=[
            KeepTogether(),
            StopWhereNotFinite(kept, validate_every),
            *([ShowProgress(progress)] if progress else []),
            keep,
        ],
        plugins=[AtomicCheckpointIO(), _environment(devices)],
        enable_checkpointing=False,  # Lightning's own
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        with progress or nullcontext():
            trainer.fit(module, data, ckpt_path=kept if done else None, weights_only=True)
    except SystemExit as exit_:
        if exit_.code != 1:
            raise  # a signal's, handled elsewhere
        # Lightning makes this of Ctrl-C, and is deaf to the next.
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from None
    return keep.metrics


def _environment(devices: Devices) -> ClusterEnvironment:
    """Who starts the processes; one device is one process's, whatever the environment says of
    Slurm's tasks, torchrun's or MPI's."""
    if devices.count > 1 and TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    return LightningEnvironment()


def _nothing(metrics: Mapping[str, float], batch: int) -> None:
    """Takes metrics, and leaves them."""


def seed_everything(seed: int) -> None:
    """Seeds the random numbers of Python, numpy and torch, as Lightning does it."""
    pl.seed_everything(seed, verbose=False)


def log_training(module: pl.LightningModule, metrics: Mapping[str, Tensor]) -> None:
    """Logs a training batch's metrics, if it is one whose metrics are kept, or the last.

    Lightning would take them at each, which costs 2% of V's training.
    """
    batch = module.global_step + 1
    if batch % LOG_EVERY == 0 or batch == module.trainer.max_steps:
        named = {f"train/{name}": value for name, value in metrics.items()}
        module.log_dict(named, sync_dist=True)


def decaying_adam(
    module: torch.nn.Module,
    learning_rate: float,
    decay: float,
    floor: float = 0.0,
    fused: bool = False,
) -> OptimizerLRSchedulerConfig:
    """Returns Adam, whose learning rate is multiplied by `decay` each batch, down to a floor.

    Args:
        fused: torch's quicker one, whose gradients Lightning does not clip in mixed precision.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=learning_rate, fused=fused)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda batch: max(decay**batch, floor / learning_rate)
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _quieten() -> None:
    """Keeps Lightning's notices of hardware and its tips out of the log."""
    for library in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", PYTREE_WARNING)
