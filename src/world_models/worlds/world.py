"""What the real world and the dream have in common: the features that C sees, lane by lane."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from world_models.models.checkpoint import feature_size
from world_models.models.mdnrnn import MDNRNN, State
from world_models.task import Task
from world_models.worlds.noise import LaneNoise


class Outcome(NamedTuple):
    """What a step led to in k lanes."""

    latent: Tensor
    """The sampled z of the next frame (k, z)."""
    reward: Tensor
    """(k,)."""
    terminated: Tensor
    """The game ended the episode (k,)."""
    truncated: Tensor
    """A limit ended it (k,)."""


class World(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Lanes of a world as C feels it: observations are [z, h], or [z, h, c] with M's cell state.

    z belongs to the frame that C is about to act on, h to everything before it: M moves on only
    after C has acted (C sees h_t, never h_{t+1}). Actions are C's own, in [-1, 1]. A lane's trace
    depends on its seed and its actions alone.

    With autoreset disabled (the default) a lane that has finished rests, at no cost, until
    `reset`: stepping it returns its last observation, no reward, and its flags again.
    """

    def __init__(self, task: Task, rnn: MDNRNN, count: int, cell: bool) -> None:
        self.task, self.rnn, self.cell = task, rnn, cell
        self.num_envs = count
        features = feature_size(rnn.sizes, cell)
        self.single_observation_space = Box(-np.inf, np.inf, (features,), np.float32)
        self.single_action_space = Box(-1, 1, (task.action_size,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, count)
        self.action_space = batch_space(self.single_action_space, count)
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.noise = LaneNoise(count)
        self._latent = torch.zeros(count, rnn.sizes.latent_size)
        self._state = rnn.initial_state(count)
        self._restart = torch.ones(count, dtype=torch.bool)
        self._steps = torch.zeros(count, dtype=torch.int64)
        self._terminated = torch.ones(count, dtype=torch.bool)
        self._truncated = torch.zeros(count, dtype=torch.bool)
        self._begun = False

    @abstractmethod
    def _begin(self, lanes: Tensor, seeds: Sequence[int]) -> Tensor:
        """Starts episodes in these lanes and returns their first latents."""

    @abstractmethod
    def _outcome(self, lanes: Tensor, actions: Tensor, state: State) -> Outcome:
        """What these actions lead to; `state` is M's after them."""

    @torch.inference_mode()
    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode in every lane, or in those of `options["reset_mask"]`.

        A seed of n gives lane i the seed n + i, as elsewhere in Gymnasium.
        """
        seeds = self._seeds(seed)
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        chosen = np.flatnonzero(mask)
        self._start(torch.from_numpy(chosen), [seeds[lane] for lane in chosen])
        self._begun = True
        return self._features(), {}

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int]:
        if isinstance(seed, (int, np.integer)):
            super().reset(seed=int(seed))
            return [int(seed) + lane for lane in range(self.num_envs)]
        given = [None] * self.num_envs if seed is None else list(seed)
        if len(given) != self.num_envs:
            raise ValueError(f"{len(given)} seeds for {self.num_envs} lanes")
        return [int(self.np_random.integers(2**31)) if s is None else int(s) for s in given]

    def _start(self, lanes: Tensor, seeds: Sequence[int]) -> None:
        self.noise.seed(lanes, seeds)
        self._begin_episodes(lanes, seeds)

    def _begin_episodes(self, lanes: Tensor, seeds: Sequence[int]) -> None:
        self._latent[lanes] = self._begin(lanes, seeds)
        for part in self._state:
            part[lanes] = 0
        self._restart[lanes] = True
        self._steps[lanes] = 0
        self._terminated[lanes] = False
        self._truncated[lanes] = False

    @torch.inference_mode()
    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Takes a step in every lane that has not finished: actions (lanes, a) in [-1, 1].

        Raises Gymnasium's ResetNeeded before the first reset.
        """
        if not self._begun:
            raise ResetNeeded("reset the world before its first step")
        reward = torch.zeros(self.num_envs)
        lanes = (~self.finished).nonzero().flatten()
        if len(lanes):
            reward[lanes] = self._step(lanes, torch.as_tensor(actions, dtype=torch.float32)[lanes])
        return (
            self._features(),
            reward.double().numpy(),
            self._terminated.numpy().copy(),
            self._truncated.numpy().copy(),
            {},
        )

    def _step(self, lanes: Tensor, actions: Tensor) -> Tensor:
        before = State(*(part[lanes] for part in self._state))
        state = self.rnn.step(
            self._latent[lanes], self.task.to_model(actions), self._restart[lanes], before
        )
        outcome = self._outcome(lanes, actions, state)
        self._latent[lanes] = outcome.latent
        for part, after in zip(self._state, state, strict=True):
            part[lanes] = after
        self._restart[lanes] = False
        self._steps[lanes] += 1
        self._terminated[lanes] = outcome.terminated
        self._truncated[lanes] = outcome.truncated & ~outcome.terminated
        return outcome.reward

    @property
    def finished(self) -> Tensor:
        """Lanes whose episode has ended: (lanes,) booleans."""
        return self._terminated | self._truncated

    def render(self) -> tuple[np.ndarray, ...] | None:
        """What each lane shows: frames (64, 64, 3) of bytes, where the world draws any."""
        return None

    def _features(self) -> np.ndarray:
        parts = [self._latent, self._state.hidden] + [self._state.cell] * self.cell
        return torch.cat(parts, dim=1).numpy()
