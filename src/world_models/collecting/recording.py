"""Games that record what is played in them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from world_models.data.store import Episode
from world_models.worlds.games import Lanes, Transitions


@dataclass
class Record:
    """What has passed in one lane since its reset."""

    seed: int
    frames: list[np.ndarray]
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: bool = False

    def episode(self, round_: str, policy: str) -> Episode:
        """Returns it as an episode of a round, played by this policy."""
        actions, rewards = np.stack(self.actions), np.asarray(self.rewards, np.float32)
        steps = {"actions": actions, "rewards": rewards}
        frames = {"frames": np.stack(self.frames)}
        return Episode(self.seed, self.terminated, frames, steps, round_, policy)


class RecordedLanes:
    """Lanes that keep each lane's frames, actions and rewards as they pass."""

    def __init__(self, lanes: Lanes) -> None:
        """Takes the lanes, which are closed with it."""
        self.lanes, self.count = lanes, lanes.count
        self.records: list[Record] = []
        """One for each seed of the last reset."""

    def reset(self, seeds: Sequence[int] | np.ndarray) -> np.ndarray:
        """Starts fresh episodes, and new records; see `Lanes.reset`."""
        frames = self.lanes.reset(seeds)
        pairs = zip(seeds, frames, strict=True)
        self.records = [Record(int(seed), [frame]) for seed, frame in pairs]
        return frames

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> Transitions:
        """Steps some lanes; see `Lanes.step`."""
        frames, rewards, terminated, truncated = self.lanes.step(lanes, actions)
        rows = zip(lanes, frames, actions.copy(), rewards, terminated, strict=True)
        for lane, frame, action, reward, ended in rows:
            record = self.records[lane]
            record.frames.append(frame)
            record.actions.append(action)
            record.rewards.append(reward)
            record.terminated = bool(ended)
        return frames, rewards, terminated, truncated

    def close(self) -> None:
        """Stops the games."""
        self.lanes.close()
