"""What the real world and the dream have in common: the features that C sees, lane by lane."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from world_models.rnn.model import MDNRNN, State
from world_models.tasks.base import Task
from world_models.vae.model import VAE
from world_models.worlds.features import feature_size, features
from world_models.worlds.noise import LaneNoise


class Moment(NamedTuple):
    """The state of some lanes, one row a lane."""

    latent: Tensor
    """The z of the frame that C is about to act on (lanes, z)."""
    hidden: Tensor
    """M's hidden state, of everything before that frame (lanes, h), in M's precision."""
    cell: Tensor
    """M's cell state (lanes, h), the same."""
    steps: Tensor
    """Steps taken in the episode (lanes,)."""
    terminated: Tensor
    """The game ended the episode (lanes,)."""
    truncated: Tensor
    """A limit ended it (lanes,)."""


class Outcome(NamedTuple):
    """What a step led to in k lanes."""

    latent: Tensor
    """The sampled z of the next frame (k, z)."""
    reward: Tensor
    """The game's points, or M's expectation of them (k,)."""
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
    `reset`: stepping it returns its last observation, no reward, and its flags again. (On a GPU it
    costs what the others do.)

    `step` is Gymnasium's, in arrays; `features` and `advance` are the same in tensors on the
    world's own device, which is M's.
    """

    unbroken = False
    """Every step is of all lanes, in place: nothing waits for the device, and a CUDA graph can
    hold it. Finished lanes then cost as much as the others."""

    def __init__(self, task: Task, rnn: MDNRNN, count: int, cell: bool) -> None:
        """Makes `count` lanes, none of which has begun.

        `rnn` is the agent's M, whose state C sees; `cell` has it see the cell state too.
        """
        self.task, self.rnn, self.cell = task, rnn, cell
        self.device = rnn.device
        self.num_envs = count
        size = feature_size(rnn.sizes, cell)
        self.single_observation_space = Box(-np.inf, np.inf, (size,), np.float32)
        self.single_action_space = Box(-1, 1, (task.action_size,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, count)
        self.action_space = batch_space(self.single_action_space, count)
        self.metadata = {
            "autoreset_mode": AutoresetMode.DISABLED,
            "render_modes": ["rgb_array"],
            "render_fps": 50,
        }
        self.noise = LaneNoise(count, self.device)
        self._every = torch.arange(count, device=self.device)
        self._now = Moment(
            torch.zeros(count, rnn.sizes.latent_size, device=self.device),
            *rnn.initial_state(count),
            steps=torch.zeros(count, dtype=torch.int64, device=self.device),
            terminated=torch.ones(count, dtype=torch.bool, device=self.device),
            truncated=torch.zeros(count, dtype=torch.bool, device=self.device),
        )
        self._begun = np.zeros(count, bool)

    @abstractmethod
    def _begin(self, lanes: Tensor, seeds: Sequence[int]) -> Tensor:
        """Starts episodes in these lanes and returns their first latents."""

    @abstractmethod
    def _outcome(self, lanes: Tensor, actions: Tensor, before: Moment, state: State) -> Outcome:
        """Returns what these actions lead to from `before`; `state` is the memory after them."""

    @torch.inference_mode()
    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode in every lane, or in those of `options["reset_mask"]`.

        A seed of n, in [0, 2^31), gives lane i the seed n + i, as elsewhere in Gymnasium. A lane
        without one takes the next of its own stream, so that the seed that it had last tells all
        its episodes. Returns observations (lanes, F) float32, and nothing else. Raises ValueError
        where there are not as many seeds as lanes.
        """
        seeds = self._seeds(seed)
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        self._restart(np.flatnonzero(mask), seeds)
        return self._observation(), {}

    def _restart(self, chosen: np.ndarray, seeds: Sequence[int | None]) -> None:
        """Starts episodes in these lanes; `seeds` are of all lanes."""
        without = [lane for lane in chosen if seeds[lane] is None]
        drawn = dict(zip(without, self._own_seeds(without), strict=True))
        self._start(chosen, [drawn[lane] if lane in drawn else int(seeds[lane]) for lane in chosen])

    def _own_seeds(self, lanes: Sequence[int]) -> list[int]:
        """The next seeds of these lanes' streams, which begin somewhere."""
        own = self.noise.seeds(torch.as_tensor(lanes, dtype=torch.int64, device=self.device))
        return [
            seed if self._begun[lane] else int(self.np_random.integers(2**31))
            for lane, seed in zip(lanes, own, strict=True)
        ]

    @torch.inference_mode()
    def begin(self, seeds: Sequence[int]) -> None:
        """Starts an episode in the first lanes, one for each seed in [0, 2^31); the others rest.

        Raises ValueError where there are more seeds than lanes.
        """
        if len(seeds) > self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} lanes")
        self._now.terminated[:], self._now.truncated[:] = True, False
        self._start(np.arange(len(seeds)), seeds)

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if isinstance(seed, (int, np.integer)):
            super().reset(seed=int(seed))
            return [int(seed) + lane for lane in range(self.num_envs)]
        given = [None] * self.num_envs if seed is None else list(seed)
        if len(given) != self.num_envs:
            raise ValueError(f"{len(given)} seeds for {self.num_envs} lanes")
        return given

    def _start(self, chosen: np.ndarray, seeds: Sequence[int]) -> None:
        lanes = torch.from_numpy(chosen).to(self.device)
        self.noise.seed(lanes, seeds)
        for rows in self._now:
            rows[lanes] = 0
        self._now.latent[lanes] = self._begin(lanes, seeds)
        self._begun[chosen] = True

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Takes a step in every lane that has not finished: actions (lanes, a) in [-1, 1].

        Returns observations (lanes, F) float32, rewards (lanes,) float64, and terminated and
        truncated, (lanes,) bool. Raises Gymnasium's ResetNeeded before the first reset, ValueError
        for actions of another shape.
        """
        rewards = self.advance(torch.as_tensor(actions, dtype=torch.float32, device=self.device))
        return (
            self._observation(),
            rewards.double().numpy(force=True),
            self._now.terminated.cpu().numpy().copy(),
            self._now.truncated.cpu().numpy().copy(),
            {},
        )

    @torch.inference_mode()
    def advance(self, actions: Tensor) -> Tensor:
        """Does what `step` does, in tensors: actions (lanes, a) to rewards (lanes,).

        Raises what `step` raises.
        """
        self._require(actions)
        playing = ~self.finished
        drawn = self.noise.drawn.clone() if self.unbroken else None
        lanes = self._every if self.unbroken else playing.nonzero().flatten()
        if not len(lanes):
            return torch.zeros(self.num_envs, device=self.device)
        before = Moment(*(_rows(part, lanes) for part in self._now))
        reward, after = self._stepped(lanes, _rows(actions, lanes), before)
        self._now = Moment(*map(partial(self._put, lanes, playing), self._now, after))
        if drawn is not None:  # a lane that rests draws nothing
            self.noise.drawn.copy_(torch.where(playing, self.noise.drawn, drawn))
        return self._put(lanes, playing, torch.zeros(self.num_envs, device=self.device), reward)

    def _require(self, actions: Tensor) -> None:
        if not self._begun.any():
            raise ResetNeeded("reset the world before its first step")
        if actions.shape != self.action_space.shape:
            found, needed = tuple(actions.shape), self.action_space.shape
            raise ValueError(f"actions of shape {found}; this world takes {needed}")

    def _stepped(self, lanes: Tensor, actions: Tensor, before: Moment) -> tuple[Tensor, Moment]:
        state = self.rnn.step(
            before.latent,
            self.task.to_model(actions),
            before.steps == 0,
            State(before.hidden, before.cell),
        )
        outcome = self._outcome(lanes, actions, before, state)
        cut = outcome.truncated & ~outcome.terminated
        after = Moment(outcome.latent, *state, before.steps + 1, outcome.terminated, cut)
        return outcome.reward, after

    def _put(self, lanes: Tensor, playing: Tensor, rows: Tensor, new: Tensor) -> Tensor:
        """The rows with those of these lanes replaced, where they play."""
        if self.unbroken:
            flags = playing.view(-1, *[1] * (rows.ndim - 1))
            return rows.copy_(torch.where(flags, new, rows))
        if len(lanes) == len(rows):
            return new
        rows[lanes] = new
        return rows

    @property
    def finished(self) -> Tensor:
        """Lanes whose episode has ended: (lanes,) booleans."""
        return self._now.terminated | self._now.truncated

    @property
    def steps(self) -> Tensor:
        """Steps taken in each lane's episode: (lanes,)."""
        return self._now.steps.clone()

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Returns what each lane shows: frames (64, 64, 3) of bytes, where the world draws any."""
        return None

    @torch.no_grad()
    def features(self) -> Tensor:
        """Returns what C sees, of everything up to z's frame: (lanes, F) float32.

        F is z + h, or z + 2h where C sees the cell state too.
        """
        state = State(self._now.hidden, self._now.cell)
        return features(self._now.latent, state, self.cell)

    def _observation(self) -> np.ndarray:
        return self.features().numpy(force=True)


def require_one_device(rnn: MDNRNN, **others: VAE | MDNRNN | None) -> None:
    """Raises ValueError where one of a world's networks is on another device than M."""
    for name, network in others.items():
        if network is not None and network.device != rnn.device:
            raise ValueError(
                f"{name} is on {network.device}, M on {rnn.device}: a world needs one device"
            )


def _rows(rows: Tensor, lanes: Tensor) -> Tensor:
    """The rows of these lanes; nothing is copied while all lanes play, as they mostly do."""
    return rows if len(lanes) == len(rows) else rows[lanes]
