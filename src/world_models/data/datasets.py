"""Streams of frames and of sequences for training, split into train and validation by episode.

Both read the store as they go, so memory does not grow with the data set.
"""

from collections.abc import Callable, Iterator
from itertools import count, islice
from math import gcd
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from world_models.data.store import CHUNK, Episode, EpisodeAt, EpisodeStore
from world_models.runtime.errors import TooFewError

VALIDATION_EVERY = 10
"""One episode in so many is kept for validation."""
SHUFFLED_CHUNKS = 80
"""Chunks of frames that are mixed at a time: 8,000 frames, 98 MB."""
VALIDATED_CHUNKS = 200
"""Chunks of frames that V is validated on, at most: 20,000 frames."""


def split_episodes(store: EpisodeStore) -> tuple[list[EpisodeAt], list[EpisodeAt]]:
    """Returns training and validation episodes: the last of every ten, or of all if fewer.

    Raises TooFewError where there is only one.
    """
    episodes = store.episodes()
    if len(episodes) < 2:
        raise TooFewError(f"{store.folder}: holds one episode: too few to train and to validate on")
    every = min(VALIDATION_EVERY, len(episodes))
    validation = episodes[every - 1 :: every]
    chosen = {(at.shard, at.index) for at in validation}
    return [at for at in episodes if (at.shard, at.index) not in chosen], validation


class Frames(NamedTuple):
    """A batch of single frames, or what one of several ranks has of it."""

    frames: Tensor
    """(n, 64, 64, 3) of bytes; n varies where there are several ranks, and may be 0."""
    rows: Tensor
    """(n,) which of the whole batch's frames they are."""


class FrameBatches(IterableDataset[Frames]):
    """Batches of single frames, in an order that mixes many episodes.

    Without end: epoch follows epoch, each with an order of its own, and its last partial batch is
    left out. Batches are the same for any number of ranks. These share out the chunks that are
    read; a rank has those frames of a batch that come from its own.
    """

    def __init__(
        self,
        store: EpisodeStore,
        episodes: list[EpisodeAt],
        batch_size: int,
        seed: int | None,
        seen: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        """Leaves out the first `seen` batches, at the cost of reading those of their last epoch.

        A seed of None is for validation: one epoch, in order, of chunks spread over the episodes,
        at most VALIDATED_CHUNKS of them, so that its time does not grow with the data set.
        """
        self.store, self.batch_size, self.seed = store, batch_size, seed
        self.rank, self.ranks = rank, ranks
        self.parts = [
            (at, start, min(start + CHUNK, at.length + 1))
            for at in episodes
            for start in range(0, at.length + 1, CHUNK)
        ]
        if seed is None:
            longest = max(at.length // CHUNK + 1 for at in episodes)
            self.parts = self.parts[:: _stride(len(self.parts), longest)]
        frames = sum(stop - start for _, start, stop in self.parts)
        if frames < batch_size:
            raise TooFewError(
                f"{store.folder}: {frames} frames to train or validate on make no batch of "
                f"batch_size {batch_size}"
            )
        self.epoch, self.seen = divmod(seen, frames // batch_size)

    def __iter__(self) -> Iterator[Frames]:
        if self.seed is None:
            yield from self._epoch(None)
            return
        for epoch in count(self.epoch):
            seen = self.seen if epoch == self.epoch else 0
            yield from islice(self._epoch(np.random.default_rng([self.seed, epoch])), seen, None)

    def _epoch(self, random: np.random.Generator | None) -> Iterator[Frames]:
        mixed: Callable[[int], np.ndarray] = np.arange if random is None else random.permutation
        order = mixed(len(self.parts))
        # One for all fillings: fresh memory would cost a good part of the time that reading does.
        frames = np.empty((SHUFFLED_CHUNKS * CHUNK + self.batch_size, 64, 64, 3), np.uint8)
        own = np.empty(len(frames), bool)
        filled = 0
        for first in range(0, len(order), SHUFFLED_CHUNKS):
            for place, i in enumerate(order[first : first + SHUFFLED_CHUNKS], first):
                at, start, stop = self.parts[i]
                into = slice(filled, filled + stop - start)
                own[into] = place % self.ranks == self.rank
                if own[filled]:
                    frames[into] = self.store.read_frames(at, "frames", start, stop)
                filled = into.stop
            which = mixed(filled)
            whole = filled - filled % self.batch_size
            for batch in which[:whole].reshape(-1, self.batch_size):
                rows = np.flatnonzero(own[batch])
                yield Frames(torch.from_numpy(frames[batch[rows]]), torch.from_numpy(rows))
            filled -= whole
            frames[:filled], own[:filled] = frames[which[whole:]], own[which[whole:]]


def _stride(chunks: int, longest: int) -> int:
    """So many chunks to the next that is validated on, where an episode has `longest` at most.

    With a factor in common, it would come upon the same minutes of every episode of that length.
    """
    stride = -(-chunks // VALIDATED_CHUNKS)
    while gcd(stride, longest) > 1:
        stride += 1
    return stride


class Sequences(NamedTuple):
    """T steps of N lanes of episodes laid end to end; step t leads from frame t to frame t + 1."""

    mu: Tensor
    """(T, N, z) of frame t."""
    logvar: Tensor
    """(T, N, z) of frame t."""
    next_mu: Tensor
    """(T, N, z) of frame t + 1."""
    next_logvar: Tensor
    """(T, N, z) of frame t + 1."""
    action: Tensor
    """(T, N, a) in [-1, 1]."""
    reward: Tensor
    """(T, N)."""
    done: Tensor
    """(T, N) booleans: the game ended with this step (a time limit does not count)."""
    restart: Tensor
    """(T, N) booleans: an episode begins with this step."""


class SequenceBatches(IterableDataset[Sequences]):
    """Consecutive pieces of N endless lanes of episodes.

    Each lane walks through episodes in an order of its own, `steps` steps a batch, so that M's
    state may be carried from a batch to the next; `restart` says where it must be zeroed.
    Some of the lanes may keep to the newest episodes. Of several ranks each has every so many-th
    lane, and reads no episodes but theirs.
    """

    def __init__(
        self,
        store: EpisodeStore,
        episodes: list[EpisodeAt],
        lanes: int,
        steps: int,
        seed: int,
        seen: int = 0,
        newest: tuple[int, int] = (0, 1),
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        """Leaves out the first `seen` batches, without reading them.

        `newest` is how many lanes walk through how many of the last episodes alone.
        """
        self.store, self.episodes, self.steps = store, episodes, steps
        self.lanes = range(rank, lanes, ranks)
        self.seed, self.seen, self.newest = seed, seen, newest

    def __iter__(self) -> Iterator[Sequences]:
        lanes = [self._lane(lane) for lane in self.lanes]
        while True:
            pieces = [next(lane) for lane in lanes]
            yield Sequences(*(torch.stack(field, dim=1) for field in zip(*pieces, strict=True)))

    def _lane(self, lane: int) -> Iterator[Sequences]:
        episodes = self._walk(lane)
        episode, start = next(episodes), 0
        while True:
            pieces: list[Sequences] = []
            missing = self.steps
            while missing:
                if start == len(episode.reward):
                    episode, start = next(episodes), 0
                pieces.append(_cut(episode, start, start + missing))
                taken = len(pieces[-1].reward)
                start, missing = start + taken, missing - taken
            yield pieces[0] if len(pieces) == 1 else _joined(pieces)

    def _walk(self, lane: int) -> Iterator[Sequences]:
        """A lane's episodes, one after the other, from where its first piece begins."""
        random = np.random.default_rng([self.seed, lane])
        lanes, count = self.newest
        episodes = self.episodes[-count:] if lane < lanes else self.episodes
        skipped = self.seen * self.steps
        while True:
            for i in random.permutation(len(episodes)):
                at = episodes[i]
                if at.length > skipped:
                    yield _cut(episode_sequence(self.store.read(at)), skipped, at.length)
                skipped = max(0, skipped - at.length)


def _cut(sequences: Sequences, start: int, stop: int) -> Sequences:
    return Sequences(*(field[start:stop] for field in sequences))


def _joined(pieces: list[Sequences]) -> Sequences:
    return Sequences(*(torch.cat(field) for field in zip(*pieces, strict=True)))


def episode_sequence(episode: Episode) -> Sequences:
    """Returns one episode's T steps as a sequence, without the axis of lanes."""
    mu, logvar = (torch.from_numpy(episode.frames[name]) for name in ("mu", "logvar"))
    done = torch.zeros(len(episode), dtype=torch.bool)
    done[-1] = episode.terminated
    restart = torch.zeros(len(episode), dtype=torch.bool)
    restart[0] = True
    return Sequences(
        mu[:-1],
        logvar[:-1],
        mu[1:],
        logvar[1:],
        torch.from_numpy(episode.steps["actions"]),
        torch.from_numpy(episode.steps["rewards"]),
        done,
        restart,
    )
