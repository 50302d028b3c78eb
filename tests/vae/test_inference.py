"""V that only infers: to the bit what it was when it was trained, and in bfloat16 nearly that."""

import pickle
from copy import deepcopy

import pytest
import torch

from world_models.runtime.precision import has_bfloat16
from world_models.vae.inference import vae_for_inference
from world_models.vae.model import VAE, VAESizes

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
def test_v_sees_the_same(dtype, count, way):
    plain = VAE(VAESizes(8))
    packed = way(vae_for_inference(deepcopy(plain), CPU, dtype))
    images = torch.rand(count, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    for expected, given in zip(plain.to(dtype).encode(images), packed.encode(images), strict=True):
        assert torch.equal(given, expected)


@torch.inference_mode()
def test_in_bfloat16_v_sees_and_draws_nearly_the_same():
    vae, images = VAE(VAESizes(8)).eval(), torch.rand(4, 3, 64, 64)
    mu, logvar = vae.encode(images)
    drawn = vae.decode(mu)
    vae.to(torch.bfloat16)
    for exact, rounded in ((mu, vae.encode(images)[0]), (logvar, vae.encode(images)[1])):
        assert rounded.dtype == torch.float32
        assert 0 < (rounded - exact).abs().max() < 0.02 * exact.abs().max()
    torch.testing.assert_close(vae.decode(mu).float(), drawn, atol=0.01, rtol=0)
