"""Whole episodes, in any world."""

from dataclasses import replace
from functools import partial
from weakref import ref

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from tests.counting import COUNTING, TIME_LIMIT, CountingVAE, expected_length, reward_of
from tests.dreams import STEPS, dying_dream, pushed, rewarding_dream
from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.worlds import rollout
from world_models.worlds.games import GymnasiumLanes
from world_models.worlds.real import RealWorld
from world_models.worlds.rollout import play, play_blind

SEEDS = [0, 1, 2, 3, 5]
LENGTHS = [expected_length(seed) for seed in SEEDS]
RETURNS = [sum(map(reward_of, range(length))) for length in LENGTHS]
needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="only a GPU has CUDA graphs")


def test_an_episode_is_played_to_its_end_in_each_lane_of_the_real_world():
    torch.manual_seed(0)
    rnn = MDNRNN(MDNRNNSizes(3, 1, 4, 2, False, False, False)).requires_grad_(False)
    lanes = GymnasiumLanes(COUNTING, len(SEEDS))
    shown = []

    def act(features):
        shown.append(features[:, 0].round().tolist())
        return torch.zeros(len(SEEDS), 1)

    try:
        played = play(RealWorld(COUNTING, lanes, CountingVAE(), rnn, cell=False), act, SEEDS)
    finally:
        lanes.close()
    assert played.lengths.tolist() == LENGTHS
    assert played.returns.tolist() == RETURNS
    # Step by step, a lane that has finished resting at its last frame.
    expected = [[min(step, length) for length in LENGTHS] for step in range(max(LENGTHS))]
    assert shown == expected


def test_an_episode_is_played_to_its_end_in_each_lane_of_a_dream():
    played = play(rewarding_dream(3), pushed, [1, 2, 3])
    assert played.lengths.tolist() == [STEPS] * 3
    assert played.returns == pytest.approx(STEPS * np.tanh(np.tanh(1)), rel=1e-5)


def test_lanes_without_a_seed_rest():
    world = rewarding_dream(3)
    play(world, pushed, [1, 2, 3])
    world.begin([4])
    assert world.finished.tolist() == [False, True, True]
    before = world.features()
    rewards = world.advance(torch.ones(3, 1))
    assert (world.features() == before).all(dim=1).tolist() == [False, True, True]
    assert (rewards != 0).tolist() == [True, False, False]
    assert world.steps.tolist()[0] == 1
    played = play(world, pushed, [4])
    assert played.lengths.tolist() == [STEPS]
    assert played.returns == pytest.approx(play(world, pushed, [4, 5, 6]).returns[:1])
    with pytest.raises(ValueError, match="4 seeds for 3 lanes"):
        world.begin([1, 2, 3, 4])


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_world_that_always_steps_every_lane_restarts_the_same_ones(mode):
    """Lanes that rest draw no numbers, so their next episodes are the same."""

    def trace(unbroken):
        world = dying_dream(6, autoreset_mode=mode)
        world.unbroken = unbroken
        world.reset(seed=1)
        return [world.step(np.ones((6, 1), np.float32))[:4] for _ in range(3 * STEPS)]

    ended = 0
    for one, other in zip(trace(False), trace(True), strict=True):
        ended += (one[2] | one[3]).sum()
        for mine, yours in zip(one, other, strict=True):
            np.testing.assert_allclose(mine, yours, atol=1e-4)
    assert ended > 6


def test_a_world_that_always_steps_every_lane_plays_the_same():
    """As on a GPU, where nothing may wait for the device."""

    def played(unbroken):
        world = dying_dream(6)
        world.unbroken = unbroken
        return play(world, pushed, range(1, 6), repeatable=True)

    waiting, unbroken = played(False), played(True)
    assert len(set(waiting.lengths.tolist())) > 1
    np.testing.assert_array_equal(unbroken.lengths, waiting.lengths)
    np.testing.assert_allclose(unbroken.returns, waiting.returns, rtol=1e-5)


@needs_a_gpu
def test_a_graph_on_a_gpu_plays_the_same_as_step_by_step_and_as_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    graphs = []

    def captured(step):
        graphs.append(step)
        return capture(step)

    capture = rollout.captured
    monkeypatch.setattr(rollout, "captured", captured)

    def played(device, repeatable):
        world = dying_dream(64, device=device)
        return [play(world, pushed, seeds, repeatable) for seeds in (range(60), range(60, 124))]

    graph, steps, cpu = played("cuda", True), played("cuda", False), played("cpu", True)
    assert len(graphs) == 2  # of the first's two episodes a lane
    assert len(set(graph[1].lengths.tolist())) > 1
    for one, same, near in zip(graph, steps, cpu, strict=True):
        np.testing.assert_array_equal(one.lengths, same.lengths)
        np.testing.assert_allclose(one.returns, same.returns, rtol=1e-6)
        np.testing.assert_array_equal(one.lengths, near.lengths)
        np.testing.assert_allclose(one.returns, near.returns, rtol=1e-4)


@needs_a_gpu
def test_a_graph_keeps_what_its_step_works_on():
    total = torch.zeros(1, device="cuda")
    kept, replay = ref(total), rollout.captured(partial(total.add_, 1))
    before = total.item()  # the capture takes steps of its own
    del total
    replay()
    assert kept() is not None
    assert kept().item() == before + 1


def test_unseeing_play_has_the_games_returns_and_leaves_finished_lanes_alone():
    asked = []

    def act(playing):
        asked.append(playing.tolist())
        return np.zeros((len(playing), 1), np.float32)

    played = play_blind(COUNTING, "gymnasium", act, SEEDS)
    assert played.returns.tolist() == RETURNS
    assert played.lengths.tolist() == LENGTHS
    assert asked[0] == [0, 1, 2, 3, 4]
    assert asked[-1] == [2, 4]  # these two run to the time limit
    assert len(asked) == TIME_LIMIT


def test_unseeing_play_has_the_games_pictures_switched_off():
    """Counting pays for the first steps only: a keyword argument that shows in the returns."""
    switched = replace(COUNTING, undrawn_kwargs={"paid": 0})
    assert play_blind(switched, "gymnasium", still, [0]).returns.tolist() == [-expected_length(0)]


def still(lanes):
    return np.zeros((len(lanes), 1), np.float32)
