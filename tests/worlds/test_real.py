"""The real world through V and M, on the counting game, whose traces are known exactly."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.counting import (
    COUNTING,
    DOUBLED,
    TIME_LIMIT,
    Counting,
    CountingVAE,
    ends_by_itself,
    expected_length,
    reward_of,
)
from tests.worlds.tracing import actions_of, trace
from world_models.rnn.mixture import negative_log_likelihood
from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.vae.model import VAE, VAESizes, sample_latent, to_images
from world_models.worlds.games import GymnasiumLanes
from world_models.worlds.noise import LaneNoise
from world_models.worlds.real import RealWorld

LATENT, HIDDEN = 3, 6
SEEDS = [0, 1, 2, 3, 5]


def an_rnn(restart_input=True):
    torch.manual_seed(0)
    sizes = MDNRNNSizes(LATENT, 1, HIDDEN, 5, restart_input, reward_head=True, done_head=True)
    return MDNRNN(sizes).eval().requires_grad_(False)


@pytest.fixture
def open_world():
    """Give a function that opens a world, which is closed when the test ends."""
    worlds = []

    def opened(count, vae=None, cell=False, task=COUNTING, rnn=None, **more):
        vae = CountingVAE() if vae is None else vae
        rnn = an_rnn() if rnn is None else rnn
        world = RealWorld(task, GymnasiumLanes(task, count), vae, rnn, cell, **more)
        worlds.append(world)
        return world

    yield opened
    for world in worlds:
        world.close()


def test_networks_on_two_devices_are_refused():
    """Any other device will do in the place of a GPU."""
    rnn = an_rnn().to("meta")
    said = r"^V is on cpu, M on meta: a world needs one device$"
    with closing(GymnasiumLanes(COUNTING, 1)) as lanes, pytest.raises(ValueError, match=said):
        RealWorld(COUNTING, lanes, CountingVAE(), rnn, cell=False)


@pytest.mark.parametrize("cell", [True, False])
@pytest.mark.parametrize("task", [COUNTING, DOUBLED])
def test_features_are_the_frames_latent_and_the_state_before_it(open_world, cell, task):
    """C sees h_t with frame t: M has taken in frame t - 1 and action t - 1, and no more."""
    rnn = an_rnn()
    features, *_ = trace(open_world(1, cell=cell, task=task, rnn=rnn), [5], TIME_LIMIT)
    state = rnn.initial_state(1)
    last_action = -1.0  # none
    for step in range(TIME_LIMIT + 1):
        latent = torch.tensor([[float(step), last_action, 5.0]])
        seen = [latent, state.hidden, state.cell] if cell else [latent, state.hidden]
        np.testing.assert_allclose(features[step], torch.cat(seen, 1), atol=0.006)
        latent = torch.from_numpy(features[step][:, :LATENT])
        action = torch.from_numpy(actions_of(5, step))[None]
        last_action = float(action)
        state = rnn.step(latent, task.to_model(action), torch.tensor([step == 0]), state)


def test_c_is_given_a_sampled_latent(open_world):
    vae = CountingVAE(sigma=0.5)
    features, *_ = trace(open_world(2, vae=vae), [5, 8], 2)
    noise, lanes = LaneNoise(2), torch.arange(2)
    noise.seed(lanes, [5, 8])
    for step in range(3):
        drawn = features[step][:, [0, 2]]
        expected = (
            np.array([[step, 5], [step, 8]]) + 0.5 * noise.normal(lanes, 3).numpy()[:, [0, 2]]
        )
        np.testing.assert_allclose(drawn, expected, atol=1e-4)


def test_c_is_given_the_latents_mean_where_it_is_to_be(open_world):
    world = open_world(2, vae=CountingVAE(sigma=0.5), sampled=False)
    features, *_ = trace(world, [5, 8], 2)
    for step in range(3):
        np.testing.assert_allclose(features[step][:, [0, 2]], [[step, 5], [step, 8]], atol=1e-4)


def test_a_frame_goes_through_v_as_it_is(open_world):
    torch.manual_seed(0)
    vae = VAE(VAESizes(LATENT)).eval().requires_grad_(False)
    world = open_world(3, vae=vae)
    features, *_ = trace(world, [5, 6, 8], 1)
    noise, lanes = LaneNoise(3), torch.arange(3)
    noise.seed(lanes, [5, 6, 8])
    noise.normal(lanes, LATENT)  # drawn for the first frames
    mu, logvar = vae.encode(to_images(torch.from_numpy(world.frames)))
    expected = sample_latent(mu, logvar, noise.normal(lanes, LATENT))
    np.testing.assert_allclose(features[1][:, :LATENT], expected, atol=1e-5)


def test_rewards_and_ends_are_the_games(open_world):
    _, rewards, terminated, truncated = trace(open_world(5), SEEDS, TIME_LIMIT)
    for lane, seed in enumerate(SEEDS):
        end = expected_length(seed) - 1
        assert rewards[: end + 1, lane].tolist() == [reward_of(step) for step in range(end + 1)]
        assert bool(terminated[end, lane]) == ends_by_itself(seed)
        assert bool(truncated[end, lane]) != ends_by_itself(seed)
        assert not (terminated | truncated)[:end, lane].any()


def test_a_finished_lanes_game_is_not_stepped_and_rests(open_world):
    world = open_world(5)
    before = Counting.steps_taken
    features, rewards, terminated, truncated = trace(world, SEEDS, TIME_LIMIT + 2)
    assert Counting.steps_taken - before == sum(map(expected_length, SEEDS))
    for lane, seed in enumerate(SEEDS):
        end = expected_length(seed)
        assert (features[end:, lane] == features[end, lane]).all()
        assert (rewards[end:, lane] == 0).all()
        assert (terminated | truncated)[end - 1 :, lane].all()


def test_lanes_do_not_depend_on_their_neighbours(open_world):
    vae = CountingVAE(sigma=0.5)
    together = trace(open_world(5, vae=vae), SEEDS, TIME_LIMIT)
    for lane, seed in enumerate(SEEDS):
        alone = trace(open_world(1, vae=vae), [seed], TIME_LIMIT)
        for part, single in zip(together, alone, strict=True):
            np.testing.assert_allclose(part[:, lane], single[:, 0], atol=1e-4)


def test_a_reset_begins_anew_with_ms_state_at_zero(open_world):
    world = open_world(2, vae=CountingVAE(sigma=0.5))
    first = trace(world, [1, 2], 6)
    trace(world, [7, 9], 3)
    again = trace(world, [1, 2], 6)
    assert (first[0][0][:, LATENT:] == 0).all()
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("paid", [0, 1, 3])
def test_patience_cuts_an_episode_off_after_as_many_steps_without_a_reward(open_world, paid):
    task = replace(COUNTING, env_kwargs={"paid": paid})
    world = open_world(2, task=task, patience=4)
    before = Counting.steps_taken
    _, _, terminated, truncated = trace(world, [5, 11], TIME_LIMIT)  # these end by time alone
    assert not terminated.any()
    assert truncated.argmax(axis=0).tolist() == [paid + 4 - 1] * 2
    assert Counting.steps_taken - before == 2 * (paid + 4)


def test_patience_starts_anew_with_each_episode(open_world):
    task = replace(COUNTING, env_kwargs={"paid": 2})
    world = open_world(1, task=task, patience=3)
    for _ in range(2):
        *_, truncated = trace(world, [5], 6)
        assert truncated[:, 0].tolist() == [False] * 4 + [True] * 2


def test_without_patience_an_idle_episode_goes_on(open_world):
    task = replace(COUNTING, env_kwargs={"paid": 0})
    *_, truncated = trace(open_world(1, task=task), [5], TIME_LIMIT)
    assert truncated[:, 0].tolist() == [False] * (TIME_LIMIT - 1) + [True]


def test_a_reset_of_some_lanes_is_refused(open_world):
    world = open_world(2)
    with pytest.raises(ValueError, match="reset_mask"):
        world.reset(seed=1, options={"reset_mask": np.array([True, False])})


@pytest.mark.parametrize("weight", [0.5, -2.0])
def test_curiosity_adds_ms_surprise_at_the_frame_that_came(open_world, weight):
    rnn = an_rnn()
    _, plain, *_ = trace(open_world(1, rnn=rnn), [5], 3)
    features, curious, *_ = trace(open_world(1, rnn=rnn, curiosity=weight), [5], 3)
    for step in range(3):
        latent, hidden = torch.from_numpy(features[step + 1]).split([LATENT, HIDDEN], dim=1)
        mixture = rnn.predict(hidden).mixture
        surprise = negative_log_likelihood(mixture, latent).mean()
        added = curious[step, 0] - plain[step, 0]
        assert added == pytest.approx(weight * float(surprise), rel=1e-4)
