"""What a person looks at: frames beside their reconstructions, and videos."""

from collections.abc import Iterable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch

from world_models.models.vae import VAE, to_frames, to_images

ZOOM = 4
FPS = 50


@torch.inference_mode()
def reconstruct(vae: VAE, frames: np.ndarray) -> np.ndarray:
    """V's picture of frames (N, 64, 64, 3), through the mean of z."""
    mu, _ = vae.encode(to_images(torch.from_numpy(frames)))
    return to_frames(vae.decode(mu)).numpy()


def beside(*pictures: np.ndarray) -> np.ndarray:
    """Pictures (H, W, 3) of one height, from left to right, with a thin line between them."""
    line = np.full((pictures[0].shape[0], 2, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, line)]
    return np.concatenate(parts[:-1], axis=1)


def save_reconstructions(path: Path, vae: VAE, frames: np.ndarray) -> None:
    """A PNG of two rows: frames (N, 64, 64, 3) over what V makes of them."""
    rows = [beside(*frames), beside(*reconstruct(vae, frames))]
    path.parent.mkdir(parents=True, exist_ok=True)
    imageio.imwrite(path, _zoomed(np.concatenate(rows), 2))


def save_video(path: Path, pictures: Iterable[np.ndarray]) -> None:
    """An MP4 of pictures (H, W, 3), enlarged four times."""
    frames = np.stack([_zoomed(picture, ZOOM) for picture in pictures])
    path.parent.mkdir(parents=True, exist_ok=True)
    imageio.imwrite(path, frames, plugin="FFMPEG", fps=FPS, macro_block_size=8)


def _zoomed(picture: np.ndarray, by: int) -> np.ndarray:
    return picture.repeat(by, axis=0).repeat(by, axis=1)
