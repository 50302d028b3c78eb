"""float32 or bfloat16: what a machine can do, and what it is quicker in."""

import pytest
import torch

from world_models.runtime.errors import ConfigError
from world_models.runtime.precision import training_precision, weights_dtype


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
