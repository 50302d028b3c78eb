"""Small data sets to train on."""

import multiprocessing

import numpy as np
import pytest

from world_models.data.store import Episode, EpisodeStore, shard_path, write_shard


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Episodes of one colour each, in light and in darkness."""
    folder = tmp_path_factory.mktemp("episodes")
    episodes = []
    for seed in range(4):
        frames = np.zeros((20, 64, 64, 3), np.uint8)
        frames[..., seed % 2] = np.linspace(0, 255, 20, dtype=np.uint8)[:, None, None]
        steps = {"actions": np.zeros((19, 1), np.float32), "rewards": np.zeros(19, np.float32)}
        episodes.append(Episode(seed, True, {"frames": frames}, steps, "counting", "held"))
    write_shard(shard_path(folder, 0), episodes, 1)
    return EpisodeStore(folder)


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    """Episodes that add their actions up: the reward is the sum, and 2 or -2 ends them."""
    folder = tmp_path_factory.mktemp("latents")
    random = np.random.default_rng(0)
    episodes = []
    for seed in range(40):
        sums, actions = [0.0], []
        while abs(sums[-1]) < 2 and len(actions) < 25:
            actions.append(random.uniform(-1, 1))
            sums.append(sums[-1] + actions[-1])
        mu = np.array(sums, np.float32)[:, None]
        episodes.append(
            Episode(
                seed,
                abs(sums[-1]) >= 2,
                {"mu": mu, "logvar": np.full_like(mu, -8)},
                {
                    "actions": np.array(actions, np.float32)[:, None],
                    "rewards": np.array(sums[1:], np.float32),
                },
                "counting",
                "held",
            )
        )
    write_shard(shard_path(folder, 0), episodes, 1)
    return EpisodeStore(folder)


@pytest.fixture(scope="module")
def processes():
    """New processes have imported torch and Lightning already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.mortal"])
    return context


@pytest.fixture(scope="module")
def stores(frames, latents):
    return {"vae": frames, "rnn": latents}
