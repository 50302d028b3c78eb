"""Streams for training: every frame once, mixed, and split by episode."""

from itertools import islice

import numpy as np
import pytest
import torch

from world_models.data.datasets import FrameBatches, SequenceBatches, split_episodes
from world_models.data.store import Episode, EpisodeStore, shard_path, write_shard
from world_models.runtime.errors import TooFewError


def write(folder, lengths, shard_episodes=4):
    """Episodes whose frames say where they are from: red is the episode, blue the step."""
    episodes = []
    for number, length in enumerate(lengths):
        frames = np.zeros((length + 1, 64, 64, 3), np.uint8)
        steps = np.arange(length + 1)
        frames[..., 0] = number
        frames[..., 2] = steps[:, None, None]
        latent = np.stack([np.full(length + 1, number), steps], axis=1).astype(np.float32)
        episodes.append(
            Episode(
                number,
                True,
                {"frames": frames, "mu": latent, "logvar": latent},
                {"actions": np.zeros((length, 1), np.float32), "rewards": np.zeros(length, "f")},
                "counting",
                "held",
            )
        )
    firsts = range(0, len(episodes), shard_episodes)
    for number, first in enumerate(firsts):
        some = episodes[first : first + shard_episodes]
        write_shard(shard_path(folder, number), some, len(firsts))
    return EpisodeStore(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write(tmp_path_factory.mktemp("episodes"), [30, 230, 7, 99, 100, 41])


EPOCH = 513 // 64
"""Batches of 64 of the store's frames."""


def told(batches):
    """(episode, step) of each frame of batches."""
    frames = torch.cat([batch.frames for batch in batches])[:, 0, 0].long()
    return [tuple(pair) for pair in torch.stack([frames[:, 0], frames[:, 2]], 1).tolist()]


def everything(store, episodes):
    return [(at.seed, step) for at in episodes for step in range(at.length + 1)]


@pytest.mark.parametrize(
    ("count", "validation"), [(2, [1]), (6, [5]), (10, [9]), (25, [9, 19]), (30, [9, 19, 29])]
)
def test_train_and_validation_are_split_by_episode(tmp_path, count, validation):
    train, held_out = split_episodes(write(tmp_path, [2] * count))
    assert [at.seed for at in held_out] == validation
    assert [at.seed for at in train] == [i for i in range(count) if i not in validation]


def test_one_episode_can_not_be_split(tmp_path):
    with pytest.raises(TooFewError, match="one episode"):
        split_episodes(write(tmp_path, [5]))


def test_an_epoch_shows_every_frame_once_but_for_a_last_partial_batch(store):
    episodes = store.episodes()
    batches = list(islice(FrameBatches(store, episodes, 64, seed=0), EPOCH))
    assert {tuple(batch.frames.shape) for batch in batches} == {(64, 64, 64, 3)}
    assert all(batch.rows.tolist() == list(range(64)) for batch in batches)
    seen, all_frames = told(batches), everything(store, episodes)
    assert len(seen) == len(set(seen)) == len(all_frames) // 64 * 64
    assert set(seen) <= set(all_frames)


def test_a_batch_mixes_episodes(store):
    first = next(iter(FrameBatches(store, store.episodes(), 64, seed=0)))
    assert len({episode for episode, _ in told([first])}) >= 4


def test_epochs_follow_each_other_in_orders_of_their_own_that_the_seed_tells(store):
    episodes = store.episodes()
    two, same, other = (
        list(islice(FrameBatches(store, episodes, 64, seed), 2 * EPOCH)) for seed in (0, 0, 1)
    )
    first, second = told(two[:EPOCH]), told(two[EPOCH:])
    assert first != second
    assert len(set(second)) == len(second)
    assert told(same) == first + second
    assert told(other[:EPOCH]) != first


def test_without_a_seed_frames_keep_their_order_for_one_epoch(store):
    episodes = store.episodes()
    stream = FrameBatches(store, episodes, 32, None)
    assert told(stream) == told(stream) == everything(store, episodes)[: 513 // 32 * 32]


def test_validation_shows_a_bounded_number_of_chunks(store, monkeypatch):
    monkeypatch.setattr("world_models.data.datasets.VALIDATED_CHUNKS", 2)
    shown = told(FrameBatches(store, store.episodes(), 32, None))
    assert 0 < len(shown) <= 200
    assert len({episode for episode, _ in shown}) == 2  # spread over the data set


def test_validation_shows_all_parts_of_episodes_of_one_length(tmp_path, monkeypatch):
    monkeypatch.setattr("world_models.data.datasets.VALIDATED_CHUNKS", 4)
    alike = write(tmp_path, [250] * 4)  # 3 chunks each
    shown = told(FrameBatches(alike, alike.episodes(), 32, None))
    assert {step // 100 for _, step in shown} == {0, 1, 2}


def test_the_buffer_is_bounded_and_loses_no_frame_between_its_fillings(store, monkeypatch):
    monkeypatch.setattr("world_models.data.datasets.SHUFFLED_CHUNKS", 2)
    seen = told(islice(FrameBatches(store, store.episodes(), 64, seed=0), EPOCH))
    assert len(seen) == len(set(seen)) == 513 // 64 * 64


def test_a_batch_may_be_larger_than_a_filling(store, monkeypatch):
    monkeypatch.setattr("world_models.data.datasets.SHUFFLED_CHUNKS", 2)
    seen = told(islice(FrameBatches(store, store.episodes(), 500, seed=0), 1))
    assert len(seen) == len(set(seen)) == 500


@pytest.mark.parametrize("seen", [1, EPOCH - 1, EPOCH, 2 * EPOCH + 3])
def test_frames_go_on_after_the_batches_that_were_seen(store, monkeypatch, seen):
    monkeypatch.setattr("world_models.data.datasets.SHUFFLED_CHUNKS", 2)
    whole = FrameBatches(store, store.episodes(), 64, seed=0)
    rest = FrameBatches(store, store.episodes(), 64, seed=0, seen=seen)
    assert told(islice(rest, EPOCH)) == told(islice(whole, seen, seen + EPOCH))


@pytest.mark.parametrize("seed", [0, None], ids=["training", "validation"])
def test_ranks_read_a_share_each_and_have_the_same_batches_together(store, monkeypatch, seed):
    monkeypatch.setattr("world_models.data.datasets.SHUFFLED_CHUNKS", 4)
    reads = []
    read = EpisodeStore.read_frames
    monkeypatch.setattr(
        EpisodeStore, "read_frames", lambda self, *what: reads.append(what) or read(self, *what)
    )

    def stream(**of):
        reads.clear()
        batches = FrameBatches(store, store.episodes(), 64, seed, **of)
        return list(islice(batches, EPOCH)), list(reads)

    whole, read_by_one = stream()
    parts, read_by_each = zip(*(stream(rank=rank, ranks=3) for rank in range(3)), strict=True)
    for batch, *shares in zip(whole, *parts, strict=True):
        together = torch.empty_like(batch.frames)
        for share in shares:
            together[share.rows] = share.frames
        assert torch.cat([share.rows for share in shares]).sort().values.tolist() == [*range(64)]
        torch.testing.assert_close(together, batch.frames, rtol=0, atol=0)
    assert [*map(len, read_by_each)] == [3, 3, 3]
    assert {*map(str, read_by_one)} == {str(one) for reads in read_by_each for one in reads}


def test_ranks_have_the_same_lanes_together(store):
    def first(**of):
        return next(iter(SequenceBatches(store, store.episodes(), 4, 50, seed=1, **of)))

    whole, parts = first(), [first(rank=rank, ranks=2) for rank in range(2)]
    for rank, part in enumerate(parts):
        for field, all_lanes in zip(part, whole, strict=True):
            torch.testing.assert_close(field, all_lanes[:, rank::2], rtol=0, atol=0)


def test_more_frames_a_batch_than_there_are_is_an_error_not_an_endless_wait(store):
    with pytest.raises(TooFewError, match=r"8 frames.*batch_size 100"):
        FrameBatches(store, store.episodes()[2:3], 100, seed=0)


def test_sequences_of_a_seed_are_the_same_each_time_and_lanes_differ(store):
    def first(seed, lanes):
        return next(iter(SequenceBatches(store, store.episodes(), lanes, 50, seed)))

    one, again, other = first(1, 3), first(1, 3), first(2, 3)
    torch.testing.assert_close(tuple(one), tuple(again))
    assert (one.mu != other.mu).any()
    assert (one.mu[:, 0] != one.mu[:, 1]).any()
    # A lane's episodes do not depend on how many lanes there are.
    torch.testing.assert_close(first(1, 2).mu, one.mu[:, :2])


@pytest.mark.parametrize("seen", [1, 2, 7, 60])
def test_sequences_go_on_after_those_that_were_seen(store, seen):
    whole, rest = (
        SequenceBatches(store, store.episodes(), 3, 50, seed=1, seen=n) for n in (0, seen)
    )
    for one, other in zip(islice(whole, seen, seen + 12), islice(rest, 12), strict=True):
        torch.testing.assert_close(tuple(one), tuple(other), rtol=0, atol=0)


def test_sequences_that_were_seen_are_not_read_again(store, monkeypatch):
    opened = []
    read = EpisodeStore.read
    monkeypatch.setattr(EpisodeStore, "read", lambda self, at: opened.append(at) or read(self, at))
    next(iter(SequenceBatches(store, store.episodes(), 1, 10, seed=1, seen=1000)))
    assert len(opened) == 1


def test_some_lanes_keep_to_the_newest_episodes(store):
    batches = SequenceBatches(store, store.episodes(), 4, 60, seed=1, newest=(2, 2))
    seen = [batch.mu[..., 0].int() for batch in islice(batches, 12)]
    episodes = [set(torch.cat([part[:, lane] for part in seen]).tolist()) for lane in range(4)]
    assert episodes[:2] == [{4, 5}] * 2
    assert all(found == set(range(6)) for found in episodes[2:])
