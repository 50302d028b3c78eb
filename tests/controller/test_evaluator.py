"""Controllers x seeds to returns."""

import os
import signal
import threading
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from tests.dreams import (
    HIDDEN,
    LATENT,
    STEPS,
    dying_dream,
    rewarding_dream,
    wide_candidates,
    wide_dream,
)
from tests.waiting import wait_for
from world_models.controller.evaluator import DividedEvaluator, ParallelEvaluator, evaluate
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.runtime.processes import WorkerPool

SIZES = ControllerSizes(LATENT + HIDDEN, 1, bias=True, cell=False)


def constant(*actions):
    """Controllers that always do the same."""
    parameters = torch.zeros(len(actions), SIZES.parameter_count)
    parameters[:, -1] = torch.tensor(actions).atanh()
    return Controllers(SIZES, parameters)


def test_each_controller_is_scored_on_every_seed():
    played = evaluate(rewarding_dream(6), constant(-0.5, 0.0, 0.9), [4, 7])
    assert played.returns.shape == played.lengths.shape == (3, 2)
    expected = STEPS * np.tanh(np.tanh([-0.5, 0.0, 0.9]))
    np.testing.assert_allclose(played.returns, np.stack([expected] * 2, axis=1), atol=1e-4)
    assert (played.lengths == STEPS).all()


def test_controllers_share_their_seeds_and_do_not_feel_each_other():
    torch.manual_seed(0)
    candidates = torch.randn(3, SIZES.parameter_count)
    together = evaluate(rewarding_dream(6), Controllers(SIZES, candidates), [4, 7])
    for i in range(3):
        alone = evaluate(rewarding_dream(1), Controllers(SIZES, candidates[i : i + 1]), [7])
        assert alone.returns[0, 0] == pytest.approx(together.returns[i, 1], abs=1e-4)
    twins = evaluate(rewarding_dream(4), Controllers(SIZES, candidates[[0, 0]]), [4, 7])
    np.testing.assert_allclose(twins.returns[0], twins.returns[1], atol=1e-5)


@pytest.fixture(scope="module")
def pools():
    """Of one, two and four workers, for all tests."""
    with ExitStack() as stack:
        yield {count: stack.enter_context(closing(WorkerPool(count))) for count in (1, 2, 4)}


@pytest.mark.parametrize(("batches", "lanes"), [(1, 4), (2, 2), (2, 5), (2, 6), (2, 12), (9, 9)])
def test_an_evaluator_plays_what_one_world_plays_however_few_its_lanes(batches, lanes, pools):
    torch.manual_seed(0)
    candidates = Controllers(SIZES, torch.randn(3, SIZES.parameter_count))
    expected = evaluate(dying_dream(6), candidates, [4, 7])
    evaluator = ParallelEvaluator(dying_dream, lanes, batches, pools[2])
    for _ in range(2):  # its worlds can be played in again
        played = evaluator.evaluate(candidates, [4, 7])
        np.testing.assert_array_equal(played.lengths, expected.lengths)
        np.testing.assert_allclose(played.returns, expected.returns, rtol=1e-4)


def test_returns_hang_on_the_batches_to_the_bit_and_not_on_the_workers(pools):
    def returns(workers, batches):
        evaluator = ParallelEvaluator(wide_dream, 21, batches, pools[workers])
        return evaluator.evaluate(wide_candidates(7), [4, 7, 9]).returns.tobytes()

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)  # of this process, which is the one worker
        assert returns(1, 3) == returns(2, 3) == returns(4, 3)
        assert returns(1, 3) != returns(1, 2)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_divided_worlds_each_play_a_share_of_the_seeds(count, pools):
    slow, quick = (
        ParallelEvaluator(world, 6, 2, pools[2]) for world in (rewarding_dream, dying_dream)
    )
    seeds, candidates = list(range(count)), constant(-0.5, 0.9)
    played = DividedEvaluator([slow, quick]).evaluate(candidates, seeds)
    share = -(-count // 2)
    for figure, first in zip(played, slow.evaluate(candidates, seeds[:share]), strict=True):
        np.testing.assert_array_equal(figure[:, :share], first)
    assert played.returns.shape == (2, count)
    if count > 1:
        second = quick.evaluate(candidates, seeds[share:])
        np.testing.assert_array_equal(played.lengths[:, share:], second.lengths)


def test_a_pool_plays_for_several_evaluators(pools):
    quick, slow = (
        ParallelEvaluator(world, 4, 2, pools[2]) for world in (dying_dream, rewarding_dream)
    )
    assert (slow.evaluate(constant(0.5), [1, 2]).lengths == STEPS).all()
    assert (quick.evaluate(constant(0.5), range(20)).lengths < STEPS).any()
    assert (slow.evaluate(constant(0.5), [1, 2]).lengths == STEPS).all()


def endless(folder, lanes):
    (folder / str(os.getpid())).touch()
    world = rewarding_dream(lanes)
    world.task = replace(world.task, time_limit=10**9)
    return world


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no process a Ctrl-C of its own")
def test_an_evaluator_that_is_interrupted_ends_at_once_and_no_other(tmp_path, pools):
    other = ParallelEvaluator(rewarding_dream, 4, 2, pools[2])
    before = other.evaluate(constant(0.5), [1, 2]).returns

    def interrupt():
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with closing(WorkerPool(2)) as pool:
        evaluator = ParallelEvaluator(partial(endless, tmp_path), 4, 2, pool)
        with pytest.raises(KeyboardInterrupt):
            evaluator.evaluate(constant(0.5), [1, 2, 3, 4])
    np.testing.assert_array_equal(other.evaluate(constant(0.5), [1, 2]).returns, before)


def test_too_many_episodes_for_one_world_are_refused():
    with pytest.raises(ValueError, match="4 episodes for 3 lanes"):
        evaluate(rewarding_dream(3), constant(0.5, 0.1), [1, 2])


def leaving_a_trace(folder, lanes):
    world = rewarding_dream(lanes)
    world.close = (folder / f"closed-{os.getpid()}").touch
    return world


@pytest.mark.parametrize("workers", [1, 2])
def test_worlds_are_closed_with_the_pool(workers, tmp_path):
    with closing(WorkerPool(workers)) as pool:
        evaluator = ParallelEvaluator(partial(leaving_a_trace, tmp_path), 2, 2, pool)
        evaluator.evaluate(constant(0.5), [1, 2])
        assert not list(tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == workers
