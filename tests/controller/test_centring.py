"""Evolution's coordinates: another origin, the same agents."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.counting import COUNTING
from world_models.controller.centring import decentre, feature_mean
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.data.store import Episode, EpisodeStore, shard_path, write_shard
from world_models.rnn.model import MDNRNN, MDNRNNSizes

LATENT, HIDDEN = 3, 5
TASK = replace(COUNTING, action_size=2, to_model=lambda actions: actions / 2)


@pytest.fixture
def rnn():
    torch.manual_seed(0)
    sizes = MDNRNNSizes(LATENT, 2, HIDDEN, 2, True, reward_head=False, done_head=False)
    return MDNRNN(sizes).eval()


@pytest.fixture
def store(tmp_path):
    """Two episodes of different lengths."""
    random = np.random.default_rng(0)
    episodes = [
        Episode(
            seed,
            True,
            {
                name: random.normal(size=(length + 1, LATENT)).astype("f")
                for name in ("mu", "logvar")
            },
            {
                "actions": random.uniform(-1, 1, (length, 2)).astype("f"),
                "rewards": np.zeros(length, "f"),
            },
            "counting",
            "held",
        )
        for seed, length in enumerate([4, 9])
    ]
    write_shard(shard_path(tmp_path, 0), episodes, 1)
    return EpisodeStore(tmp_path)


@pytest.mark.parametrize("hidden_units", [None, 4])
def test_a_decentred_controller_does_on_features_what_it_did_on_centred_ones(hidden_units):
    torch.manual_seed(0)
    sizes = ControllerSizes(7, 3, bias=True, cell=False, hidden_units=hidden_units)
    found = torch.randn(4, sizes.parameter_count, dtype=torch.float64)
    features, mean = torch.randn(8, 7, dtype=torch.float64), torch.randn(7)
    there = Controllers(sizes, decentre(sizes, found, mean)).act(features)
    torch.testing.assert_close(there, Controllers(sizes, found).act(features - mean))


def test_a_controller_without_bias_cannot_be_decentred():
    sizes = ControllerSizes(7, 1, bias=False, cell=False)
    with pytest.raises(ValueError, match="without bias"):
        decentre(sizes, torch.zeros(4, sizes.parameter_count), torch.ones(7))


def test_the_mean_is_of_what_c_acts_on(store, rnn):
    """h_t holds what came before frame t; at an episode's first frame it is zero."""
    expected = []
    for episode in map(store.read, store.episodes()):
        mu, action = (
            torch.from_numpy(a)[:, None] for a in (episode.frames["mu"], episode.steps["actions"])
        )
        first = torch.zeros(len(episode), 1, dtype=torch.bool)
        first[0] = True
        with torch.inference_mode():
            after, _ = rnn.advance(mu[:-1], action / 2, first, rnn.initial_state(1))
        hidden = torch.cat([torch.zeros(1, HIDDEN), after[:-1, 0]])
        expected.append(torch.cat([mu[:-1, 0], hidden], dim=1))
    mean = feature_mean(store, TASK, rnn, cell=False)
    torch.testing.assert_close(mean, torch.cat(expected).mean(dim=0))
    with_cell = feature_mean(store, TASK, rnn, cell=True)
    assert with_cell.shape == (LATENT + 2 * HIDDEN,)
    torch.testing.assert_close(with_cell[: LATENT + HIDDEN], mean)
