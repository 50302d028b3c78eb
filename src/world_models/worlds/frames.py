"""From a game's raw frames to the 64x64 frames that V sees."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate

from world_models.tasks.base import FRAME_SIZE


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
