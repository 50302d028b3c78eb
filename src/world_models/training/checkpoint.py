"""What a training needs to go on, bit for bit, where it was killed, in a file that is whole."""

import sys
import zipfile
from errno import EINVAL
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins import TorchCheckpointIO

from world_models.runtime.files import atomic_write


class KeepCheckpoint(Callback):
    """Keeps the training after each validation and at its end.

    Lightning keeps the weights, the optimiser, the schedule and the count of batches, which is also
    the position in the data. Added here: torch's random numbers, which all ranks draw alike, the
    last metrics, and on how many devices it was trained. It's kept *after* validation, which draws
    random numbers too.
    """

    def __init__(self, path: Path, devices: int = 1) -> None:
        self.path, self.devices = path, devices
        self.metrics: dict[str, float] = {}
        """The last of training and of validation, by name."""
        self._kept_at = 0
        self._random: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Returns what Lightning is to keep."""
        random = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            random["cuda"] = torch.cuda.get_rng_state()
        return {"metrics": self.metrics, "random": random, "devices": self.devices}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what Lightning kept, before the training goes on."""
        self.metrics, self._random = state_dict["metrics"], state_dict["random"]
        self.devices = max(self.devices, state_dict["devices"])

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Takes up the random numbers, now that the making of the data's iterator has drawn one."""
        if self._random is not None:
            torch.set_rng_state(self._random["cpu"])
            if torch.cuda.is_available():
                torch.cuda.set_rng_state(self._random["cuda"])

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Keeps the training."""
        self._keep(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Keeps the training, unless its last batch was validated."""
        if trainer.global_step != self._kept_at:
            self._keep(trainer)

    def _keep(self, trainer: pl.Trainer) -> None:
        new = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.metrics = dict(sorted((self.metrics | new).items()))
        trainer.save_checkpoint(self.path, weights_only=False)
        self._kept_at = trainer.global_step


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints aside and renames them; Lightning's own way leaves files in /tmp."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Writes one, or nothing at all."""
        with atomic_write(Path(path)) as aside, aside.open("wb") as file:
            torch.save(checkpoint, file)


def batches_kept(path: Path, leads: bool = True) -> int:
    """Returns how many batches the training kept at `path` has seen; 0 where none is kept.

    A damaged file is not believed. The process that leads removes it, and says so on stderr. Raises
    OSError where the file can't be read.
    """
    if not path.exists():
        return 0
    try:
        return _read(path)["global_step"]
    except Exception as error:  # a damaged file makes zipfile and torch raise almost anything
        unread = isinstance(error, OSError) and error.errno != EINVAL  # of a place before its begin
        if unread or isinstance(error, MemoryError):
            raise  # the file may be whole
        if leads:
            path.unlink()
            print(f"{path}: damaged: the training starts over", file=sys.stderr)
        return 0


def devices_kept(path: Path) -> int:
    """Returns on how many devices at a time the training kept at `path` was trained, at most."""
    return _read(path)["callbacks"][KeepCheckpoint.__qualname__]["devices"]


def _read(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as file:  # torch looks at no checksum
        if file.testzip() is not None:
            raise zipfile.BadZipFile
    return torch.load(path, map_location="cpu", weights_only=True)


def batches_seen(data: pl.LightningDataModule) -> int:
    """Returns how many batches the training that asks for this data has seen already."""
    return data.trainer.global_step if data.trainer else 0
