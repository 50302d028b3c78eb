"""A dream of one lane as a plain Gymnasium environment."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tests.dreams import STEPS, Grey, rewarding_dream
from world_models.worlds.single import SingleWorld


def action_of(step):
    return np.random.default_rng(step).uniform(-1, 1, 1).astype(np.float32)


def test_it_is_the_same_dream():
    world, single = rewarding_dream(1), SingleWorld(rewarding_dream(1))
    features, _ = world.reset(seed=6)
    shown, info = single.reset(seed=6)
    np.testing.assert_array_equal(shown, features[0])
    assert info == {}
    for step in range(STEPS):
        features, rewards, terminated, truncated, _ = world.step(action_of(step)[None])
        shown, *result, _ = single.step(action_of(step))
        np.testing.assert_array_equal(shown, features[0])
        assert result == [rewards[0], terminated[0], truncated[0]]
        assert [type(value) for value in result] == [float, bool, bool]
    assert result[1:] == [False, True]


def test_a_seed_is_followed_by_other_episodes_the_same_each_time():
    single = SingleWorld(rewarding_dream(1))
    first = [single.reset(seed=seed)[0] for seed in (6, None, None)]
    again = [single.reset(seed=seed)[0] for seed in (6, None, None)]
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert (first[1] != first[2]).any()


def test_it_shows_what_its_lane_shows():
    assert SingleWorld(rewarding_dream(1)).render() is None
    single = SingleWorld(rewarding_dream(1, vae=Grey()))
    single.reset(seed=1)
    assert single.render().shape == (64, 64, 3)
    assert single.render_mode == "rgb_array"


def test_it_needs_one_lane_that_stays_finished():
    for world in (
        rewarding_dream(2),
        rewarding_dream(1, autoreset_mode=AutoresetMode.NEXT_STEP),
    ):
        with pytest.raises(ValueError, match="one lane"):
            SingleWorld(world)
