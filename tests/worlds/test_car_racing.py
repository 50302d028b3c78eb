"""The faster CarRacing against Gymnasium's own."""

import gymnasium
import numpy as np
import pytest

from world_models.worlds.car_racing import ENV_ID


def drive(env, seed, steps, low, high):
    """Play; returns the frames, one more than steps, and each step's reward and ends."""
    rng = np.random.default_rng(seed)
    frames, rewards, ends = [env.reset(seed=seed)[0]], [], []
    for step in range(steps):
        if step % 8 == 0:
            action = rng.uniform(low, high).astype(np.float32)
        frame, reward, *end, _ = env.step(action)
        frames.append(frame)
        rewards.append(reward)
        ends.append(end)
        if any(end):
            break
    return np.stack(frames), rewards, ends


WILD = (-1, 0.2, 0), (1, 1, 0.2)
TAME = (-0.3, 0.2, 0), (0.3, 1, 0.2)
STRAIGHT = (0, 0.55, 0), (0, 0.55, 0)


@pytest.mark.parametrize(
    ("seed", "steps", "low", "high"), [(1, 200, *TAME), (2, 200, *WILD), (6, 200, *STRAIGHT)]
)
def test_frames_rewards_and_ends_are_gymnasiums_to_the_bit(seed, steps, low, high):
    ours = drive(gymnasium.make(ENV_ID), seed, steps, low, high)
    theirs = drive(gymnasium.make("CarRacing-v3"), seed, steps, low, high)
    # Straight on leads off the field within the time, so that its black outside is seen too.
    assert any(terminated for terminated, _ in theirs[2]) == (low == high)
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert ours[1:] == theirs[1:]


def test_undrawn_the_same_episode_is_played_and_all_is_black():
    drawn = drive(gymnasium.make(ENV_ID), 1, 60, *WILD)
    undrawn = drive(gymnasium.make(ENV_ID, drawn=False), 1, 60, *WILD)
    assert drawn[1:] == undrawn[1:]
    assert undrawn[0].shape == drawn[0].shape
    assert drawn[0].any()
    assert not undrawn[0].any()


def test_a_gauge_that_leaves_the_status_bar_is_drawn_as_gymnasium_draws_it():
    pictures = []
    for env_id in (ENV_ID, "CarRacing-v3"):
        game = gymnasium.make(env_id).unwrapped
        game.reset(seed=0)
        game.car.wheels[2].omega = 600.0
        pictures.append(game._render("state_pixels"))
    np.testing.assert_array_equal(*pictures)


def test_videos_are_gymnasiums_too():
    pictures = []
    for env_id in (ENV_ID, "CarRacing-v3"):
        env = gymnasium.make(env_id, render_mode="rgb_array")
        env.reset(seed=3)
        env.step(np.array([0.1, 1, 0], np.float32))
        pictures.append(env.render())
    assert pictures[0].shape == (400, 600, 3)
    np.testing.assert_array_equal(*pictures)
