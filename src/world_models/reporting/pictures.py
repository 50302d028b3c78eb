"""Pictures of frames: beside their reconstructions as a PNG, one after the other as a video."""

import errno
import os
import shutil
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import torch
from imageio_ffmpeg import count_frames_and_secs
from PIL import Image

from world_models.runtime.files import atomic_write
from world_models.vae.model import VAE, to_frames, to_images

ZOOM = 4
FPS = 50
GIF_EVERY, GIF_COLOURS = 3, 64
VIDEO_ROOM = 50_000_000
"""Bytes that have to be free before a video is begun; the longest have a tenth of it."""


@torch.inference_mode()
def reconstruct(vae: VAE, frames: np.ndarray) -> np.ndarray:
    """Returns V's picture of frames (N, 64, 64, 3), through the mean of z."""
    mu, _ = vae.encode(to_images(torch.from_numpy(frames)))
    return to_frames(vae.decode(mu)).numpy()


def beside(*pictures: np.ndarray) -> np.ndarray:
    """Joins pictures (H, W, 3) of one height, from left to right, with a thin line between."""
    line = np.full((pictures[0].shape[0], 2, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, line)]
    return np.concatenate(parts[:-1], axis=1)


def save_reconstructions(path: str | Path, vae: VAE, frames: np.ndarray) -> None:
    """Writes a PNG of two rows: frames (N, 64, 64, 3) over what V makes of them."""
    rows = [beside(*frames), beside(*reconstruct(vae, frames))]
    with atomic_write(path) as aside:
        imageio.imwrite(aside, _zoomed(np.concatenate(rows), 2))


def save_video(path: str | Path, pictures: Iterable[np.ndarray]) -> None:
    """Writes an MP4 of pictures (H, W, 3), enlarged four times.

    Raises OSError (ENOSPC) where the disk has no room for it.
    """
    with atomic_write(path) as aside:
        _require_room(aside)
        written = 0
        with _video_writer(aside) as writer:
            for picture in pictures:
                writer.append_data(_zoomed(picture, ZOOM))
                written += 1
        if count_frames_and_secs(aside)[0] != written:
            raise _no_room(path)


def save_gif(path: str | Path, pictures: Iterable[np.ndarray]) -> None:
    """Writes a GIF of every third of these pictures (H, W, 3), twice as large and in few colours.

    It is as fast as the video, and small enough for a page. Raises ValueError without a picture.
    """
    kept = [Image.fromarray(_zoomed(one, 2)) for one in islice(pictures, 0, None, GIF_EVERY)]
    if not kept:
        raise ValueError("a GIF needs a picture")
    first, *others = (picture.quantize(GIF_COLOURS) for picture in kept)
    how = {"save_all": True, "append_images": others, "loop": 0, "optimize": True}
    with atomic_write(path) as aside:
        first.save(aside, format="gif", duration=1000 * GIF_EVERY // FPS, **how)


def _require_room(path: Path) -> None:
    """Without it, as ffmpeg says nothing of a full disk, or takes no more pictures and waits."""
    if shutil.disk_usage(path.parent).free < VIDEO_ROOM:
        raise _no_room(path)


def _no_room(path: str | Path) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _video_writer(path: Path) -> Any:
    return imageio.get_writer(path, fps=FPS, macro_block_size=8)


def _zoomed(picture: np.ndarray, by: int) -> np.ndarray:
    return picture.repeat(by, axis=0).repeat(by, axis=1)
