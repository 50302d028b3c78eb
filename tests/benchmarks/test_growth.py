"""What growth is measured with: one pass over a data set, whatever its size."""

from benchmarks.growth import STEPS, TASK, write_parameters
from world_models.controller.config import ControllerConfig
from world_models.params import Params
from world_models.rnn.config import RNNConfig
from world_models.vae.config import VAEConfig


def test_ten_times_the_episodes_are_ten_times_the_batches(tmp_path):
    vae, rnn = [], []
    for episodes in (4096, 40_960):
        write_parameters(tmp_path / "params.yaml", episodes)
        params = Params(tmp_path / "params.yaml", TASK)
        vae.append(params.section(VAEConfig))
        rnn.append(params.section(RNNConfig))
        assert vae[-1].batches == episodes * (STEPS + 1) // vae[-1].batch_size
        assert rnn[-1].batches == episodes * STEPS // (rnn[-1].lanes * rnn[-1].steps)
        assert params.section(ControllerConfig).generations == 1
    assert vae[1].batches == vae[1].validate_every == 10 * vae[0].batches
    assert rnn[1].batches == rnn[1].validate_every == 10 * rnn[0].batches
