"""C carried over to other features does there what it did before."""

import pytest
import torch

from world_models.controller.policy import Controllers, ControllerSizes
from world_models.controller.refit import refit

OLD = ControllerSizes(6, 2, bias=True, cell=False)
NEW = ControllerSizes(9, 2, bias=True, cell=True, temperature=1.15)


def a_controller(sizes=OLD):
    torch.manual_seed(1)
    return Controllers(sizes, torch.randn(1, sizes.parameter_count) / 1.5)


def test_on_features_that_say_the_same_it_acts_as_before():
    """The new features are a linear map of the old ones, one of them a constant."""
    torch.manual_seed(0)
    before = torch.randn(2000, 6)
    now = torch.cat([before @ torch.randn(6, 8), torch.full((2000, 1), 0.3)], dim=1) + 5
    old = a_controller()
    new = refit(old, before, now, NEW)
    assert new.sizes == NEW
    error = (new.act(now) - old.act(before)).abs()
    assert error.mean() < 0.05
    assert old.act(before).abs().mean() > 0.4


def test_features_of_which_one_is_missing_are_made_the_best_of():
    torch.manual_seed(0)
    before = torch.randn(2000, 6)
    old = a_controller()
    sizes = ControllerSizes(5, 2, bias=True, cell=False)
    best = refit(old, before, before[:, :5], sizes).act(before[:, :5])
    other = Controllers(sizes, torch.zeros(1, sizes.parameter_count)).act(before[:, :5])
    wanted = old.act(before)
    assert 0.003 < (best - wanted).square().mean() < 0.8 * (other - wanted).square().mean()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ControllerSizes(6, 2, True, False, hidden_units=3), NEW),
        (OLD, ControllerSizes(9, 2, True, True, hidden_units=3)),
        (OLD, ControllerSizes(9, 2, False, True)),
    ],
)
def test_what_is_not_linear_or_has_no_bias_is_refused(old, new):
    with pytest.raises(ValueError, match="only a linear C"):
        refit(a_controller(old), torch.randn(20, 6), torch.randn(20, 9), new)
