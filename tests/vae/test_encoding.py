"""The data set through V's encoder; tests/collecting pins that rows stay in their places."""

import numpy as np
import pytest
import torch

from world_models.data.store import Episode, EpisodeStore, shard_path, write_shard
from world_models.runtime.processes import WorkerPool
from world_models.vae.encoding import encode
from world_models.vae.model import VAE, VAESizes, to_images


def test_every_frame_gets_vs_own_mean_and_variance_whatever_the_batch(tmp_path):
    torch.manual_seed(0)
    vae = VAE(VAESizes(4)).eval()
    frames = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    steps = {"actions": np.zeros((7, 1), np.float32), "rewards": np.zeros(7, np.float32)}
    episode = Episode(3, True, {"frames": frames}, steps, "counting", "held")
    write_shard(shard_path(tmp_path / "in", 0), [episode], 1)
    for batch_size in (1, 3, 100):
        folder = tmp_path / str(batch_size)
        assert list(
            encode(EpisodeStore(tmp_path / "in"), vae, folder, batch_size, WorkerPool(1))
        ) == [8]
        (at,) = EpisodeStore(folder).episodes()
        found = EpisodeStore(folder).read(at).frames
        mu, logvar = vae.encode(to_images(torch.from_numpy(frames)))
        assert found["mu"].tolist() == [pytest.approx(row, abs=1e-5) for row in mu.tolist()]
        assert found["logvar"].tolist() == [pytest.approx(row, abs=1e-5) for row in logvar.tolist()]
