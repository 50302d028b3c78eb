"""From a game's raw frames to the 64x64 frames that V sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from world_models.runtime.errors import ConfigError
from world_models.tasks.base import FRAME_SIZE, Task

SOURCES = {"observation": "its observation", "screen": "its screen", "render": "its render()"}
"""What `Task.observe` names, in words."""


def view(task: Task, frame: Any) -> np.ndarray:
    """Returns the rows and columns of a game's raw frame that are kept.

    Raises ConfigError where it is not (height, width, 3) of bytes, or none of it is kept.
    """
    picture = isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.shape[2:] == (3,)
    if not picture:
        raise ConfigError(
            f"tasks/{task.name}.py: a frame has to be uint8, height × width × 3; "
            f"{SOURCES[task.observe]} is {_kind(frame)}{_remedy(task, frame)}"
        )
    kept: np.ndarray = frame[task.crop]
    if not kept.size:
        raise ConfigError(
            f"tasks/{task.name}.py: crop: nothing is left of a frame that is {_kind(frame)}"
        )
    return kept


def _kind(frame: Any) -> str:
    if isinstance(frame, np.ndarray):
        return ", ".join([str(frame.dtype), " × ".join(map(str, frame.shape))])
    return "None" if frame is None else f"a {type(frame).__name__}"


def _remedy(task: Task, frame: Any) -> str:
    unseen = task.observe == "render" and frame is None
    return ": env_kwargs wants render_mode='rgb_array'" if unseen else ""


def resize(raw: np.ndarray, crop: tuple[slice, slice]) -> np.ndarray:
    """Crops and resizes a batch of raw frames.

    `raw` is (N, height, width, 3) uint8 and `crop` its rows and columns to keep; returns
    (N, 64, 64, 3) uint8. Each output pixel is the weighted mean of the whole area it covers
    (bilinear with antialiasing), so small things on the screen do not vanish. A frame's result
    does not depend on the others in the batch.
    """
    rows, columns = crop
    # Channels last in memory and first in shape: torch's fast path for uint8 pictures.
    cropped = torch.from_numpy(np.ascontiguousarray(raw[:, rows, columns])).permute(0, 3, 1, 2)
    small = interpolate(cropped, (FRAME_SIZE, FRAME_SIZE), mode="bilinear", antialias=True)
    return small.permute(0, 2, 3, 1).contiguous().numpy()
