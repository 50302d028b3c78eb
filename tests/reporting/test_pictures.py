"""What a person looks at."""

import imageio.v3 as imageio
import numpy as np
import pytest
from imageio_ffmpeg import count_frames_and_secs

from tests.counting import CountingVAE
from world_models.reporting.pictures import (
    beside,
    reconstruct,
    save_gif,
    save_reconstructions,
    save_video,
)


def frames(count):
    """Frames that the counting V draws again as they were."""
    colours = [(step, 150, 7) for step in range(count)]
    return np.array(colours, np.uint8)[:, None, None].repeat(64, 1).repeat(64, 2)


def test_pictures_stand_beside_each_other_with_a_line_between():
    red, green = np.zeros((2, 5, 4, 3), np.uint8)
    red[..., 0], green[..., 1] = 255, 255
    both = beside(red, green)
    assert both.shape == (5, 4 + 2 + 4, 3)
    np.testing.assert_array_equal(both[:, :4], red)
    np.testing.assert_array_equal(both[:, -4:], green)


def test_reconstructions_lie_under_their_frames(tmp_path):
    np.testing.assert_array_equal(reconstruct(CountingVAE(), frames(3)), frames(3))
    path = tmp_path / "reports" / "reconstructions.png"
    save_reconstructions(path, CountingVAE(), frames(3))
    picture = imageio.imread(path)
    top, bottom = np.split(picture, 2)
    np.testing.assert_array_equal(top, bottom)
    assert picture.shape[1] >= 3 * 64
    assert list(path.parent.iterdir()) == [path]


def test_a_video_shows_every_picture(tmp_path):
    path = tmp_path / "agent.mp4"
    save_video(path, iter(frames(12)))
    count, seconds = count_frames_and_secs(path)
    assert count == 12
    assert seconds == pytest.approx(12 / 50, abs=0.03)
    assert list(tmp_path.iterdir()) == [path]


def test_a_gif_shows_every_third_picture_as_fast_as_the_video(tmp_path):
    path = tmp_path / "agent.gif"
    save_gif(path, iter(frames(12)))
    shown = imageio.imread(path)
    assert shown.shape == (4, 128, 128, 3)
    assert shown[:, 0, 0, 0].tolist() == [0, 3, 6, 9]
    assert imageio.immeta(path)["duration"] == 60
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_that_fails_leaves_no_file(tmp_path):
    def broken():
        yield from frames(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_video(tmp_path / "agent.mp4", broken())
    assert list(tmp_path.iterdir()) == []
