"""Crop and resize."""

import numpy as np
from PIL import Image

from world_models.tasks import get_task
from world_models.worlds.frames import resize

WHOLE = (slice(None), slice(None))


def noise(count, height, width):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def test_a_frame_does_not_depend_on_its_batch():
    raw = noise(9, 96, 96)
    crop = get_task("carracing").crop
    together = resize(raw, crop)
    alone = np.concatenate([resize(raw[i : i + 1], crop) for i in range(len(raw))])
    assert together.shape == (9, 64, 64, 3)
    assert together.dtype == np.uint8
    np.testing.assert_array_equal(together, alone)


def test_resizing_agrees_with_pillow():
    raw = noise(2, 200, 320)
    pillow = [
        np.asarray(Image.fromarray(frame).resize((64, 64), Image.Resampling.BILINEAR))
        for frame in raw
    ]
    difference = resize(raw, WHOLE).astype(int) - np.stack(pillow)
    assert np.abs(difference).max() <= 1


def test_the_crop_is_all_that_is_seen():
    raw = noise(1, 96, 96)
    changed = raw.copy()
    changed[:, 84:] = 0
    crop = (slice(0, 84), slice(None))
    np.testing.assert_array_equal(resize(raw, crop), resize(changed, crop))
    np.testing.assert_array_equal(resize(raw, crop), resize(raw[:, :84], WHOLE))


def test_channels_and_axes_keep_their_places():
    raw = np.zeros((1, 128, 128, 3), np.uint8)
    raw[:, :64, 64:, 0] = 255
    small = resize(raw, WHOLE)[0]
    assert small[10, 50].tolist() == [255, 0, 0]
    assert small[50, 10].tolist() == [0, 0, 0]


def test_a_small_bright_thing_does_not_vanish():
    raw = np.zeros((1, 256, 256, 3), np.uint8)
    raw[:, 101, 101] = 255
    assert resize(raw, WHOLE).max() > 0
