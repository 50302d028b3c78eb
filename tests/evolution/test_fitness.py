"""Controllers x seeds to returns."""

import os
import signal
import threading
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.dreams import HIDDEN, LATENT, STEPS, dying_dream, rewarding_dream
from world_models.evolution.fitness import Arena, score
from world_models.models.controller import Controllers, ControllerSizes

SIZES = ControllerSizes(LATENT + HIDDEN, 1, bias=True, cell=False)


def constant(*actions):
    """Controllers that always do the same."""
    parameters = torch.zeros(len(actions), SIZES.parameter_count)
    parameters[:, -1] = torch.tensor(actions).atanh()
    return Controllers(SIZES, parameters)


def test_each_controller_is_scored_on_every_seed():
    played = score(rewarding_dream(6), constant(-0.5, 0.0, 0.9), [4, 7])
    assert played.returns.shape == played.lengths.shape == (3, 2)
    expected = STEPS * np.tanh(np.tanh([-0.5, 0.0, 0.9]))
    np.testing.assert_allclose(played.returns, np.stack([expected] * 2, axis=1), atol=1e-4)
    assert (played.lengths == STEPS).all()


def test_controllers_share_their_seeds_and_do_not_feel_each_other():
    torch.manual_seed(0)
    candidates = torch.randn(3, SIZES.parameter_count)
    together = score(rewarding_dream(6), Controllers(SIZES, candidates), [4, 7])
    for i in range(3):
        alone = score(rewarding_dream(1), Controllers(SIZES, candidates[i : i + 1]), [7])
        assert alone.returns[0, 0] == pytest.approx(together.returns[i, 1], abs=1e-4)
    twins = score(rewarding_dream(4), Controllers(SIZES, candidates[[0, 0]]), [4, 7])
    np.testing.assert_allclose(twins.returns[0], twins.returns[1], atol=1e-5)


CPU = torch.device("cpu")


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


@pytest.mark.parametrize("lanes", [2, 5, 6, 12])
def test_an_arena_plays_what_one_world_plays_however_few_its_lanes(lanes, two_cores):
    torch.manual_seed(0)
    candidates = Controllers(SIZES, torch.randn(3, SIZES.parameter_count))
    expected = score(dying_dream(6), candidates, [4, 7])
    with closing(Arena(dying_dream, lanes, CPU)) as arena:
        for _ in range(2):  # its worlds can be played in again
            played = arena.score(candidates, [4, 7])
            np.testing.assert_array_equal(played.lengths, expected.lengths)
            np.testing.assert_allclose(played.returns, expected.returns, rtol=1e-4)


def test_an_arena_leaves_torchs_threads_as_they_were():
    before = torch.get_num_threads()
    seen = []
    with closing(Arena(rewarding_dream, 4, CPU)) as arena:
        arena.score(constant(0.5), [1, 2, 3])
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert [torch.get_num_threads(), *seen] == [before, before]


def endless(lanes):
    world = rewarding_dream(lanes)
    world.task = replace(world.task, time_limit=10**9)
    return world


def test_an_arena_that_is_interrupted_ends_at_once(two_cores):
    def interrupt():
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    with closing(Arena(endless, 4, CPU)) as arena:
        threading.Thread(target=interrupt).start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            arena.score(constant(0.5), [1, 2, 3, 4])
    assert time.monotonic() - start < 5


def test_a_world_that_fails_ends_the_others_play(two_cores):
    with closing(Arena(endless, 4, CPU)) as arena:

        def fail(*_):
            raise OSError("the game is gone")

        arena.worlds[1].advance = fail
        with pytest.raises(OSError, match="the game is gone"):
            arena.score(constant(0.5), [1, 2, 3, 4])


def test_too_many_episodes_for_one_world_are_refused():
    with pytest.raises(ValueError, match="4 episodes for 3 lanes"):
        score(rewarding_dream(3), constant(0.5, 0.1), [1, 2])


def test_an_arena_closes_its_worlds_also_those_it_opened_before_one_failed(two_cores):
    closed = []

    def open_world(lanes):
        if opened:
            raise OSError("no room")
        world = rewarding_dream(lanes)
        world.close = lambda: closed.append(world)
        opened.append(world)
        return world

    opened = []
    with pytest.raises(OSError, match="no room"):
        Arena(open_world, 4, CPU)
    assert closed == opened
