"""A dream of M in bfloat16: the same to within its rounding."""

import numpy as np
import torch

from tests.dreams import STEPS, pushed, rewarding_dream
from world_models.worlds.rollout import play


def test_a_dream_scores_the_same():
    world, rounded = rewarding_dream(3), rewarding_dream(3, dtype=torch.bfloat16)
    expected, played = (play(one, pushed, [1, 2, 3]) for one in (world, rounded))
    assert rounded.features().dtype == torch.float32
    assert played.lengths.tolist() == [STEPS] * 3
    np.testing.assert_allclose(played.returns, expected.returns, rtol=0.005)
    assert (played.returns != expected.returns).all()
