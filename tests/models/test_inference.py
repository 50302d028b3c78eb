"""Networks that only infer give what they gave when they were trained, to the bit."""

import pickle
from copy import deepcopy

import pytest
import torch

from world_models.models.inference import for_inference
from world_models.models.mdnrnn import MDNRNN, MDNRNNSizes, State
from world_models.models.precision import has_bfloat16
from world_models.models.vae import VAE, VAESizes

CPU = torch.device("cpu")


def sent(network):
    """As another process gets it."""
    return pickle.loads(pickle.dumps(network))


DTYPES = [torch.float32] + [torch.bfloat16] * has_bfloat16()


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 3, 64])
@pytest.mark.parametrize("way", [lambda network: network, sent])
@torch.inference_mode()
def test_v_sees_the_same(dtype, count, way):
    plain = VAE(VAESizes(8))
    packed = way(for_inference(deepcopy(plain), CPU, dtype))
    images = torch.rand(count, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    for expected, given in zip(plain.to(dtype).encode(images), packed.encode(images), strict=True):
        assert torch.equal(given, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 3, 64])
@pytest.mark.parametrize("way", [lambda network: network, sent])
@torch.inference_mode()
def test_m_remembers_the_same(dtype, count, way):
    plain = MDNRNN(MDNRNNSizes(8, 2, 64, 5, True, reward_head=True, done_head=True))
    packed = way(for_inference(deepcopy(plain), CPU, dtype))
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
