"""The same policies in the dream and in the game."""

import numpy as np
import pytest

from tests.counting import (
    Counting,
    expected_length,
    read_frame,
    reward_of,
)
from tests.dreams import STEPS, Grey, rewarding_dream
from world_models.evaluation.fidelity import (
    Still,
    disagreement,
    dreamed,
    stand_still,
)
from world_models.tasks import get_task


class Constant:
    """Always the same, and keeps what it was shown."""

    def __init__(self, action):
        self.action, self.shown = np.array([action], np.float32), []

    def act(self, frame):
        self.shown.append(frame)
        return self.action


def expected_return(seed):
    return sum(reward_of(step) for step in range(expected_length(seed)))


def test_each_policy_dreams_in_a_lane_of_its_own():
    played = dreamed(rewarding_dream(3), [Constant(a) for a in (-1, 0, 1)], [1, 2, 3])
    reward = np.tanh(np.tanh(1))
    np.testing.assert_allclose(played.returns, STEPS * reward * np.array([-1, 0, 1]), atol=1e-4)
    assert played.lengths.tolist() == [STEPS] * 3


def test_a_policy_is_shown_what_v_draws_where_the_dream_can_draw():
    blind, seeing = Constant(0.0), Constant(0.0)
    dreamed(rewarding_dream(1), [blind], [1])
    dreamed(rewarding_dream(1, vae=Grey()), [seeing], [1])
    assert len(blind.shown) == len(seeing.shown) == STEPS
    for nothing, frame in zip(blind.shown, seeing.shown, strict=True):
        assert nothing.shape == frame.shape == (64, 64, 3)
        assert (nothing.max(), frame.min(), frame.max()) == (0, 51, 51)


def test_standing_still_is_played_on_every_seed_a_few_at_a_time(counting, monkeypatch):
    monkeypatch.setattr("world_models.evaluation.fidelity.LANES", 2)
    monkeypatch.setattr(Counting, "_frame", no_action_but_zero(Counting._frame))
    seeds = range(5)
    played = stand_still(counting, "gymnasium", seeds)
    assert played.returns.tolist() == [expected_return(seed) for seed in seeds]
    assert Still(get_task("takecover")).act(None).tolist() == [0]
    assert Still(get_task("carracing")).act(None).tolist() == [0, -1, 0]


def no_action_but_zero(draw):
    def checked(self):
        frame = draw(self)
        step, action, _ = read_frame(frame)
        assert action == (0 if step else -1)
        return frame

    return checked


@pytest.mark.parametrize(
    ("dream", "real", "off"), [(100, 100, 0), (120, 100, 0.2), (80, 100, 0.2), (60, 40, 0.5)]
)
def test_disagreement_is_a_share_of_the_real_mean(dream, real, off):
    spread = np.array([-1.0, 0.0, 1.0])
    assert disagreement(dream + spread, real + 3 * spread) == pytest.approx(off)
