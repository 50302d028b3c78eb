"""V and M with weights in bfloat16: the same models to within its rounding."""

import numpy as np
import pytest
import torch

from tests.dreams import STEPS, pushed, rewarding_dream
from world_models.errors import ConfigError
from world_models.models.mdn import negative_log_likelihood
from world_models.models.mdnrnn import MDNRNN, MDNRNNSizes
from world_models.models.precision import training_precision, weights_dtype
from world_models.models.vae import VAE, VAESizes
from world_models.worlds.rollout import play


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@torch.inference_mode()
def test_v_sees_and_draws_the_same():
    vae, images = VAE(VAESizes(8)).eval(), torch.rand(4, 3, 64, 64)
    mu, logvar = vae.encode(images)
    drawn = vae.decode(mu)
    vae.to(torch.bfloat16)
    for exact, rounded in ((mu, vae.encode(images)[0]), (logvar, vae.encode(images)[1])):
        assert rounded.dtype == torch.float32
        assert 0 < (rounded - exact).abs().max() < 0.02 * exact.abs().max()
    torch.testing.assert_close(vae.decode(mu).float(), drawn, atol=0.01, rtol=0)


@torch.inference_mode()
def test_ms_likelihood_is_the_same_over_a_long_sequence():
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


def test_a_dream_scores_the_same():
    world, rounded = rewarding_dream(3), rewarding_dream(3, dtype=torch.bfloat16)
    expected, played = (play(one, pushed, [1, 2, 3]) for one in (world, rounded))
    assert rounded.features().dtype == torch.float32
    assert played.lengths.tolist() == [STEPS] * 3
    np.testing.assert_allclose(played.returns, expected.returns, rtol=0.005)
    assert (played.returns != expected.returns).all()


def test_bfloat16_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert weights_dtype("32-true") == torch.float32
    with pytest.raises(ConfigError, match=r"precision: bf16-true: .* use 32-true"):
        weights_dtype("bf16-true")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert weights_dtype("bf16-true") == torch.bfloat16


@pytest.mark.parametrize("units", ["_is_avx512_bf16_supported", "_is_amx_tile_supported"])
def test_auto_is_bfloat16_where_the_processor_multiplies_in_it(monkeypatch, units):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    # Kernels alone don't do: AVX-512 without such units emulates it.
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert weights_dtype("auto") == torch.float32
    assert training_precision("auto") == "32-true"
    monkeypatch.setattr(torch.cpu, units, lambda: True)
    assert weights_dtype("auto") == torch.bfloat16
    assert training_precision("auto") == "bf16-mixed"
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert weights_dtype("auto") == torch.float32
