"""Real games as lanes of frames."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pygame
import pytest

from tests.strange import PICTURE, STRANGE_AT, strange
from world_models.runtime.errors import ConfigError
from world_models.tasks import get_task
from world_models.worlds.frames import resize
from world_models.worlds.games import EnvPoolLanes, open_lanes

GAMES = [
    ("carracing", "gymnasium"),
    ("carracing", "envpool"),
    ("takecover", "gymnasium"),
    ("pendulum", "gymnasium"),
]
every_game = pytest.mark.parametrize(("name", "simulator"), GAMES)


@pytest.fixture
def opened():
    """Give an open_lanes whose lanes are closed when the test ends."""
    games = []

    def open_and_remember(*arguments):
        games.append(open_lanes(*arguments))
        return games[-1]

    yield open_and_remember
    for game in games:
        game.close()


def actions_of(seed, step, size):
    """Return the action that the lane with this seed takes at this step."""
    return np.random.default_rng((seed, step // 5)).uniform(-1, 1, size).astype(np.float32)


def trace(lanes, seeds, steps):
    """Play all lanes; returns frames (steps + 1, count, ...) and rewards (steps, count)."""
    size = lanes.task.action_size
    frames, rewards = [lanes.reset(seeds)], []
    for step in range(steps):
        actions = np.stack([actions_of(seed, step, size) for seed in seeds])
        frame, reward, terminated, truncated = lanes.step(np.arange(lanes.count), actions)
        assert not (terminated | truncated).any()
        frames.append(frame)
        rewards.append(reward)
    return np.stack(frames), np.stack(rewards)


def assert_equal_traces(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@every_game
def test_frames_and_results_have_the_promised_shapes(opened, name, simulator):
    task = get_task(name)
    lanes = opened(task, 3, simulator)
    frames = lanes.reset([4, 5, 6])
    assert frames.shape == (3, 64, 64, 3)
    assert frames.dtype == np.uint8
    assert frames.std() > 0
    results = lanes.step(np.array([2, 0]), np.zeros((2, task.action_size), np.float32))
    assert [array.shape for array in results] == [(2, 64, 64, 3), (2,), (2,), (2,)]
    assert [array.dtype for array in results] == [np.uint8, np.float32, bool, bool]


@every_game
def test_equal_seeds_give_equal_episodes_in_any_lane_and_any_order(opened, name, simulator):
    lanes = opened(get_task(name), 3, simulator)
    first = trace(lanes, [7, 8, 7], 20)
    trace(lanes, [1, 2, 3], 5)
    assert_equal_traces(trace(lanes, [7, 8, 7], 20), first)
    assert_equal_traces([part[:, 2] for part in first], [part[:, 0] for part in first])
    assert (first[0][:, 1] != first[0][:, 0]).any()


@every_game
def test_a_lane_does_not_feel_its_neighbours(opened, name, simulator):
    together = trace(opened(get_task(name), 3, simulator), [7, 8, 9], 20)
    alone = trace(opened(get_task(name), 1, simulator), [8], 20)
    assert_equal_traces([part[:, 1:2] for part in together], alone)


@every_game
def test_lanes_that_are_left_out_stand_still(opened, name, simulator):
    task = get_task(name)
    lanes = opened(task, 4, simulator)
    whole_frames, whole_rewards = trace(lanes, [7, 8, 9, 10], 6)
    lanes.reset([7, 8, 9, 10])
    # Lane 3 takes its steps first, then lanes 2 and 1 by turns in either order; lane 0 none.
    for chosen in ([3], [2, 1], [1, 2]):
        seeds = [7 + lane for lane in chosen]
        for step in range(6) if chosen == [3] else range(3):
            now = step + 3 * (chosen == [1, 2])
            actions = np.stack([actions_of(seed, now, task.action_size) for seed in seeds])
            frames, rewards, *_ = lanes.step(np.array(chosen), actions)
            np.testing.assert_array_equal(frames, whole_frames[now + 1, chosen])
            np.testing.assert_array_equal(rewards, whole_rewards[now, chosen])


@every_game
def test_an_episode_is_truncated_at_the_limit_and_waits_for_a_reset(opened, name, simulator):
    task = replace(get_task(name), time_limit=5)
    lanes = opened(task, 2, simulator)
    lanes.reset([1, 2])
    still = np.zeros((2, task.action_size), np.float32)
    for step in range(1, 6):
        _, _, terminated, truncated = lanes.step(np.arange(2), still)
        assert not terminated.any()
        assert truncated.tolist() == [step == 5] * 2
    with pytest.raises(ValueError, match=r"lanes \[1\] have finished"):
        lanes.step(np.array([1]), still[:1])
    lanes.reset([1, 2])
    assert not np.any(lanes.step(np.arange(2), still)[3])


@pytest.mark.parametrize("simulator", ["gymnasium", "envpool"])
def test_leaving_carracings_field_is_a_termination_not_a_truncation(opened, simulator):
    lanes = opened(get_task("carracing"), 1, simulator)
    lanes.reset([1])
    # Half gas: full gas spins the car round.
    ahead = np.array([[0, 0.1, -1]], np.float32)
    for _ in range(300):
        _, rewards, terminated, truncated = lanes.step(np.array([0]), ahead)
        if terminated[0] or truncated[0]:
            break
    assert (rewards[0], terminated[0], truncated[0]) == (-100, True, False)


def test_takecover_pays_one_for_each_step_survived_and_repeats_the_last_frame(opened):
    lanes = opened(get_task("takecover"), 2)
    lanes.reset([3, 4])
    survived, returns, live = np.zeros(2), np.zeros(2), np.arange(2)
    last = lanes.reset([3, 4])
    while len(live):
        stay = np.zeros((len(live), 1), np.float32)
        frames, rewards, terminated, truncated = lanes.step(live, stay)
        survived[live] += 1
        returns[live] += rewards
        for frame, lane, ended in zip(frames, live, terminated, strict=True):
            assert frame.max() > 0
            assert not ended or (frame == last[lane]).all()
        last[live] = frames
        live = live[~(terminated | truncated)]
    assert (survived > 30).all()
    np.testing.assert_array_equal(returns, survived)


class EnvPoolDraws:
    """The random numbers that EnvPool draws for a track, in place of Gymnasium's generator.

    EnvPool copies Gymnasium's way to make a track from uniform numbers, but takes these from C++'s
    mt19937, two draws for each double.
    """

    def __init__(self, seed):
        self._mt19937 = np.random.RandomState(seed)

    def uniform(self, low, high):
        first, second = (int(n) for n in self._mt19937.randint(0, 2**32, 2, dtype=np.uint32))
        return low + (high - low) * (first + second * 2**32) / 2**64


def test_envpool_and_gymnasium_look_alike_on_the_same_track_and_drive(opened):
    task = get_task("carracing")
    pool, official = EnvPoolLanes(task, 1), opened(task, 1)
    pool_frame = pool.reset([2])
    official.reset([0])
    game = official._games[0]
    game.unwrapped._np_random = EnvPoolDraws(2)
    official_frame = resize(game.reset()[0][None], task.crop)
    pool_return = official_return = 0.0
    for step in range(200):
        gap = np.abs(pool_frame.astype(int) - official_frame)
        assert gap.mean() < 4, step
        assert (gap.max(axis=-1) > 30).mean() < 0.03, step
        steer = 0.0 if step < 60 else 0.1 * np.sin(step / 9)
        action = np.array([[steer, 0.1 if step < 80 else -0.8, -1]], np.float32)
        pool_frame, reward, *_ = pool.step(np.array([0]), action)
        pool_return += reward[0]
        official_frame, reward, *_ = official.step(np.array([0]), action)
        official_return += reward[0]
    assert pool_return > 20
    assert pool_return == pytest.approx(official_return, abs=0.01)
    elsewhere = EnvPoolLanes(task, 1).reset([3])
    assert np.abs(elsewhere.astype(int) - official_frame).mean() > 10


def test_the_working_directory_stays_as_it_was(opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lanes = opened(get_task("takecover"), 1)
    lanes.reset([0])
    assert os.getcwd() == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
    lanes.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("simulator", ["gymnasium", "envpool"])
def test_lanes_without_a_seed_rest(opened, simulator):
    task = get_task("carracing")
    lanes, two = opened(task, 3, simulator), opened(task, 2, simulator)
    lanes.reset([1, 2, 3])
    np.testing.assert_array_equal(lanes.reset([4, 5]), two.reset([4, 5]))
    index, actions = np.arange(2), np.zeros((2, 3), np.float32)
    for here, there in zip(lanes.step(index, actions), two.step(index, actions), strict=True):
        np.testing.assert_array_equal(here, there)
    with pytest.raises(ValueError, match=r"lanes \[2\] have finished"):
        lanes.step(np.array([2]), actions[:1])


def test_games_in_two_threads_draw_what_they_draw_alone(opened):
    """pygame fills polygons in a buffer of the process, without Python's lock."""
    task, count = get_task("carracing"), 60

    def drive(lanes):
        frames = [lanes.reset([7, 8])]
        for _ in range(count):
            frames.append(lanes.step(np.arange(2), np.full((2, 3), 0.1, np.float32))[0])
        return np.stack(frames)

    alone = drive(opened(task, 2))
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(drive, [opened(task, 2), opened(task, 2)]))
    for frames in both:
        np.testing.assert_array_equal(frames, alone)


@pytest.mark.parametrize("name", ["pendulum", "carracing"])
def test_games_are_drawn_without_a_screen_whichever_the_environment_names(
    opened, monkeypatch, name
):
    task = get_task(name)
    drawn = opened(task, 1).reset([3])
    monkeypatch.setenv("SDL_VIDEODRIVER", "nothing")
    np.testing.assert_array_equal(opened(task, 1).reset([3]), drawn)
    assert os.environ["SDL_VIDEODRIVER"] == "nothing"
    assert not pygame.display.get_init()


def test_a_game_that_closes_leaves_the_others_their_fonts(opened):
    """Gymnasium's quit pygame, which all games of a process have in common."""
    other, driven = opened(get_task("pendulum"), 1), opened(get_task("carracing"), 1)
    other.reset([1])
    driven.reset([1])
    other.close()
    assert driven.step(np.arange(1), np.zeros((1, 3), np.float32))[0].any()


def test_closing_twice_is_fine(opened):
    for simulator in ("gymnasium", "envpool"):
        lanes = opened(get_task("carracing"), 1, simulator)
        lanes.close()
        lanes.close()


FRAMES = [
    (PICTURE.astype(np.float32) / 255, "its observation is float32, 64 × 64 × 3"),
    (PICTURE[..., 0], "its observation is uint8, 64 × 64"),
    (PICTURE[..., :1], "its observation is uint8, 64 × 64 × 1"),
    (PICTURE.transpose(2, 0, 1), "its observation is uint8, 3 × 64 × 64"),
    (PICTURE.ravel(), "its observation is uint8, 12288"),
    (None, "its observation is None"),
    (PICTURE.tolist(), "its observation is a list"),
]


@pytest.mark.parametrize(("shown", "said"), FRAMES, ids=[said for _, said in FRAMES])
def test_a_frame_that_is_no_picture_is_refused_at_the_start(opened, shown, said):
    lanes = opened(strange(shown=shown), 2)
    line = f"tasks/strange.py: a frame has to be uint8, height × width × 3; {said}"
    with pytest.raises(ConfigError, match=f"^{line}$"):
        lanes.reset([1, 2])


def test_so_is_one_that_is_not_where_the_task_says(opened):
    line = "^tasks/strange.py: a frame has to be uint8, height × width × 3; its"
    with pytest.raises(ConfigError, match=f"{line} screen is None$"):
        opened(replace(strange(), observe="screen"), 1).reset([1])
    with pytest.raises(ConfigError, match=rf"{line} render\(\) is None: .*'rgb_array'$"):
        opened(replace(strange(shown=None), observe="render"), 1).reset([1])
    beside = replace(strange(), crop=(slice(64, None), slice(None)))
    with pytest.raises(ConfigError, match=r"crop: nothing is left of .* uint8, 64 × 64 × 3$"):
        opened(beside, 1).reset([1])


@pytest.mark.parametrize(
    ("paid", "said"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (np.float64("inf"), "inf"),
        (None, "nan"),
        (np.array([1.0, 2.0]), r"\[1. 2.\]"),
    ],
)
def test_a_reward_that_is_no_finite_number_is_refused_where_it_is_paid(opened, paid, said):
    lanes, every, actions = opened(strange(paid=paid), 2), np.arange(2), np.zeros((2, 1))
    lanes.reset([1, 2])
    for _ in range(STRANGE_AT - 1):
        assert lanes.step(every, actions)[1].tolist() == [1, 1]
    line = f"^tasks/strange.py: a reward has to be a finite number; the game's is {said}$"
    with pytest.raises(ConfigError, match=line):
        lanes.step(every, actions)


def test_a_game_that_nobody_knows_is_refused(opened):
    line = r"^tasks/strange.py: env_id: Environment `Stranger` doesn't exist.*"
    with pytest.raises(ConfigError, match=line) as caught:
        opened(replace(strange(), env_id="Stranger-v0"), 1)
    assert "\n" not in str(caught.value)
    line = r"^tasks/strange.py: env_id: No module named 'stranger'"
    with pytest.raises(ConfigError, match=line):
        opened(replace(strange(), env_id="stranger:Stranger-v0"), 1)


def test_mistakes_are_one_clear_line(opened):
    pendulum = get_task("pendulum")
    with pytest.raises(ValueError, match="3 seeds for 2 lanes"):
        opened(pendulum, 2).reset([1, 2, 3])
    with pytest.raises(ValueError, match="task 'pendulum' has no EnvPool version"):
        EnvPoolLanes(pendulum, 1)
    with pytest.raises(ValueError, match="unknown simulator 'mujoco'; known simulators: envpool"):
        open_lanes(pendulum, 1, "mujoco")
    with pytest.raises(ValueError, match=r"lanes \[0\] have finished: reset first"):
        opened(pendulum, 1).step(np.array([0]), np.zeros((1, 1), np.float32))
