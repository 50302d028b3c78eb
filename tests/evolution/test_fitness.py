"""Controllers x seeds to returns."""

import numpy as np
import pytest
import torch

from tests.dreams import HIDDEN, LATENT, STEPS, rewarding_dream
from world_models.evolution.fitness import score
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
