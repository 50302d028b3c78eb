"""The faster CarRacing against Gymnasium's own."""

import gymnasium
import numpy as np
import pytest

from world_models.worlds.car_racing import ENV_ID


def drive(env, seed, steps, steering):
    """Play; returns frames (steps + 1, 96, 96, 3), rewards and ends of each step."""
    rng = np.random.default_rng(seed)
    frames, rewards, ends = [env.reset(seed=seed)[0]], [], []
    for step in range(steps):
        if step % 8 == 0:
            action = rng.uniform((-steering, 0.2, 0), (steering, 1, 0.2)).astype(np.float32)
        frame, reward, *end, _ = env.step(action)
        frames.append(frame)
        rewards.append(reward)
        ends.append(end)
    return np.stack(frames), rewards, ends


@pytest.mark.parametrize(
    ("seed", "steps", "steering"),
    # Straight on, full speed, leaves the field within 250 steps: its black outside is seen too.
    [(0, 250, 0.0), (1, 200, 0.3), (2, 200, 1.0)],
)
def test_frames_rewards_and_ends_are_gymnasiums_to_the_bit(seed, steps, steering):
    ours = drive(gymnasium.make(ENV_ID), seed, steps, steering)
    theirs = drive(gymnasium.make("CarRacing-v3"), seed, steps, steering)
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert ours[1:] == theirs[1:]


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
