"""M that only infers: to the bit what it was when it was trained, and in bfloat16 nearly that."""

import pickle
from copy import deepcopy

import pytest
import torch

from world_models.rnn.inference import rnn_for_inference
from world_models.rnn.mixture import negative_log_likelihood
from world_models.rnn.model import MDNRNN, MDNRNNSizes, State
from world_models.runtime.precision import has_bfloat16

CPU = torch.device("cpu")
DTYPES = [torch.float32] + [torch.bfloat16] * has_bfloat16()


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def sent(network):
    """As another process gets it."""
    return pickle.loads(pickle.dumps(network))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 3, 64])
@pytest.mark.parametrize("way", [lambda network: network, sent])
@torch.inference_mode()
def test_m_remembers_the_same(dtype, count, way):
    plain = MDNRNN(MDNRNNSizes(8, 2, 64, 5, True, reward_head=True, done_head=True))
    packed = way(rnn_for_inference(deepcopy(plain), CPU, dtype))
    latent, action = torch.randn(7, count, 8), torch.rand(7, count, 2)
    restart = torch.rand(7, count) < 0.2
    before = State(torch.randn(count, 64), torch.randn(count, 64))
    expected, after = plain.to(dtype).advance(latent, action, restart, before)
    given, reached = packed.advance(latent, action, restart, before)
    assert torch.equal(given, expected)
    assert torch.equal(reached.hidden, after.hidden)
    assert torch.equal(reached.cell, after.cell)
    for one, other in zip(packed.predict(given), plain.predict(given), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@torch.inference_mode()
def test_in_bfloat16_ms_likelihood_is_nearly_the_same_over_a_long_sequence():
    rnn = MDNRNN(MDNRNNSizes(8, 2, 32, 5, True, reward_head=True, done_head=True)).eval()
    latent, action = torch.randn(200, 4, 8), torch.rand(200, 4, 2)
    restart = torch.zeros(200, 4, dtype=torch.bool)
    restart[[0, 90]] = True

    def nll():
        hidden, state = rnn.advance(latent, action, restart, rnn.initial_state(4))
        assert {hidden.dtype, state.hidden.dtype, state.cell.dtype} == {rnn.heads.weight.dtype}
        mixture = rnn.predict(hidden[:-1]).mixture
        return float(negative_log_likelihood(mixture, latent[1:]).mean())

    exact = nll()
    rnn.to(torch.bfloat16)
    assert 0 < abs(nll() - exact) < 0.002 * abs(exact)
