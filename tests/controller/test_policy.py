"""C: the paper's sizes, and a population against its members one by one."""

from dataclasses import replace

import pytest
import torch

from world_models.controller.policy import Controllers, ControllerSizes


def test_parameter_counts_are_the_papers():
    assert ControllerSizes(32 + 256, 3, bias=True, cell=False).parameter_count == 867
    assert ControllerSizes(64 + 2 * 512, 1, bias=False, cell=True).parameter_count == 1_088


def test_parameter_counts_of_the_ablations_are_the_papers():
    alone = ControllerSizes(32, 3, bias=True, cell=False)
    assert alone.parameter_count == 99
    assert replace(alone, hidden_units=40).parameter_count == 1_443


def a_population(count, bias, hidden_units=None):
    torch.manual_seed(0)
    sizes = ControllerSizes(5, 2, bias=bias, cell=False, hidden_units=hidden_units)
    return Controllers(sizes, torch.randn(count, sizes.parameter_count))


@pytest.mark.parametrize("bias", [True, False])
def test_an_action_is_the_tanh_of_a_linear_map(bias):
    controllers = a_population(1, bias)
    features = torch.randn(3, 5)
    weight = controllers.parameters[0, :10].reshape(2, 5)
    offset = controllers.parameters[0, 10:] if bias else 0
    torch.testing.assert_close(controllers.act(features), (features @ weight.T + offset).tanh())


@pytest.mark.parametrize("bias", [True, False])
def test_hidden_units_are_a_layer_of_tanh_before_it(bias):
    controllers = a_population(1, bias, hidden_units=3)
    features, parameters = torch.randn(4, 5), controllers.parameters[0]
    lengths = [15, 3, 6, 2] if bias else [15, 0, 6, 0]
    weight, offset, out_weight, out_offset = parameters.split(lengths)
    offset, out_offset = (offset, out_offset) if bias else (0, 0)
    hidden = (features @ weight.reshape(3, 5).T + offset).tanh()
    expected = (hidden @ out_weight.reshape(2, 3).T + out_offset).tanh()
    torch.testing.assert_close(controllers.act(features), expected)


def test_c_on_z_alone_does_not_feel_what_comes_after_it():
    controllers = a_population(2, bias=True)
    features = torch.randn(6, 5)
    actions = controllers.act(torch.cat([features, torch.randn(6, 4)], dim=1))
    torch.testing.assert_close(actions, controllers.act(features), rtol=0, atol=0)


@pytest.mark.parametrize("hidden_units", [None, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("episodes", [1, 4])
def test_a_population_acts_like_its_members_one_by_one(bias, episodes, hidden_units):
    controllers = a_population(3, bias, hidden_units)
    features = torch.randn(3 * episodes, 5)
    actions = controllers.act(features)
    assert actions.shape == (3 * episodes, 2)
    for i in range(3):
        member = Controllers(controllers.sizes, controllers.parameters[i : i + 1])
        own = slice(i * episodes, (i + 1) * episodes)
        torch.testing.assert_close(actions[own], member.act(features[own]))


def test_zeros_stand_still():
    sizes = ControllerSizes(5, 2, bias=True, cell=False)
    still = Controllers(sizes, torch.zeros(1, sizes.parameter_count))
    assert still.act(torch.randn(4, 5)).abs().max() == 0
