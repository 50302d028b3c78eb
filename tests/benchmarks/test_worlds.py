"""What the real worlds are held against."""

import envpool
import numpy as np
import pytest

from benchmarks import networks
from benchmarks.worlds import replayed_envpool
from world_models.data.store import Episode, EpisodeStore, shard_path, write_shard
from world_models.tasks import get_task

DRIVES = {7: 4, 3: 6}
"""Seeds and lengths."""


def a_drive(seed, length):
    actions = np.random.default_rng(seed).uniform(-1, 1, (length, 3)).astype(np.float32)
    steps = {"actions": actions, "rewards": np.zeros(length, np.float32)}
    frames = {"frames": np.zeros((length + 1, 64, 64, 3), np.uint8)}
    return Episode(seed, False, frames, steps, "carracing", "brownian")


@pytest.fixture
def stepped(monkeypatch):
    """What EnvPool was told, pool by pool: its seeds, then each step's moves and lanes."""
    told, make = [], envpool.make

    def recorded(*args, **kwargs):
        pool = make(*args, **kwargs)
        step, mine = pool.step, [kwargs["seed"]]
        told.append(mine)
        pool.step = lambda moves, lanes: mine.append((moves, lanes.tolist())) or step(moves, lanes)
        return pool

    monkeypatch.setattr(envpool, "make", recorded)
    return told


def test_a_data_set_is_driven_again_by_its_actions_and_no_further(tmp_path, stepped):
    drives = [a_drive(seed, length) for seed, length in DRIVES.items()]
    write_shard(shard_path(tmp_path, 0), drives, 1)
    bare = replayed_envpool(EpisodeStore(tmp_path))
    for _ in range(2):
        bare.prepare()
        assert bare.run() == sum(DRIVES.values())
    moves = [get_task("carracing").to_env(drive.steps["actions"]) for drive in drives]
    for seeds, *steps in stepped:  # each time the same games, from the start
        assert seeds == list(DRIVES)
        assert [lanes for _, lanes in steps] == [[0, 1]] * 4 + [[1]] * 2
        for lane, expected in enumerate(moves):
            driven = [told[lanes.index(lane)] for told, lanes in steps if lane in lanes]
            np.testing.assert_array_equal(driven, expected)


@pytest.mark.parametrize("cores", [1, 2, 4, 9])
def test_shares_hold_every_frame(monkeypatch, cores):
    monkeypatch.setattr(networks, "cores", lambda _: cores)
    done = networks.networks("carracing", 6, "32-true").run()
    assert done == 6 * networks.STEPS
