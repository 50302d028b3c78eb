"""The dream: M alone, playing the game to itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from world_models.rnn.mixture import heat, sample
from world_models.rnn.model import MDNRNN, State
from world_models.tasks.base import Task
from world_models.vae.model import VAE, sample_latent, to_frames
from world_models.worlds.base import Moment, Outcome, World, require_one_device
from world_models.worlds.config import DreamConfig, Ends
from world_models.worlds.noise import normal, uniform

NEGLIGIBLE = 0.02
"""A chance of having lasted under which a weighed episode is over."""


class DreamWorld(World):
    """M's hallucination of a game (paper, section 4): z' drawn from its mixture at temperature tau.

    An episode begins at the latent of a stored first frame, with M's state at zero. It terminates
    where the done head holds that for likely (its logit is over 0, as in the authors' code), or by
    the chance that it gives, and is truncated at the task's time limit.
    The reward is M's expectation of it, or, without a reward head, 1 for each step.
    """

    def __init__(
        self,
        task: Task,
        rnn: MDNRNN,
        dreamer: MDNRNN,
        starts: Tensor,
        count: int,
        temperature: float,
        cell: bool,
        vae: VAE | None = None,
        autoreset_mode: AutoresetMode = AutoresetMode.DISABLED,
        ends: Ends = "likely",
        weighed: bool = False,
    ) -> None:
        """Opens a dream.

        Args:
            rnn: the agent's M, whose state C sees.
            dreamer: the M that dreams, with a state of its own; in the paper the agent's M, whose
                state is then computed once.
            starts: mu and log sigma^2 of first frames, (S, 2, z).
            count: how many lanes it has.
            temperature: tau > 0; 1 draws from the mixture as it was learned.
            cell: C sees M's cell state too.
            vae: draws the frames of `render`; without it there are none.
            autoreset_mode: Gymnasium's; what happens to lanes that have finished.
            ends: `likely`: an episode ends as soon as the done head's logit is over 0; `drawn`: by
                the chance that the done head gives, corrected for the weight that its training
                gave to ends, which multiplies its odds.
            weighed: no episode ends by chance. A step's reward is multiplied by the chance of
                having lasted until it, and an episode ends where that is NEGLIGIBLE: the mean
                return of drawn ends, but for that, without their luck. It takes the place of
                `ends`.

        Raises ValueError where the networks are on two devices.
        """
        require_one_device(rnn, dreamer=dreamer, V=vae)
        super().__init__(task, rnn, count, cell)
        self.starts, self.temperature, self.vae = starts.to(self.device), temperature, vae
        self.dreamer, self.ends, self.weighed = dreamer, ends, weighed
        self._lasted = torch.ones(count, device=self.device)
        self._dreaming = dreamer.initial_state(count)
        self.unbroken = self.device.type != "cpu"
        self.render_mode = None if vae is None else "rgb_array"
        self.autoreset_mode = autoreset_mode
        self.metadata |= {"autoreset_mode": autoreset_mode}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Takes a step in every lane, and restarts those that have finished as the mode asks.

        It takes, returns and raises what `World.step` does. With `AutoresetMode.SAME_STEP` the last
        observation of an episode is in `infos["final_obs"]`, an array with None for other lanes.
        """
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            return self._step_after_restart(actions)
        observations, rewards, terminated, truncated, infos = super().step(actions)
        ended = terminated | truncated
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            final = np.full(self.num_envs, None, object)
            for lane in np.flatnonzero(ended):
                final[lane] = observations[lane]
            infos = {"final_obs": final, "_final_obs": ended}
            infos |= {"final_info": {}, "_final_info": ended.copy()}
            observations = self._restart_lanes(ended)
        return observations, rewards, terminated, truncated, infos

    def _step_after_restart(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """A lane that had finished begins anew instead of acting; the others step."""
        ended = self.finished.numpy(force=True)
        observations, rewards, terminated, truncated, infos = super().step(actions)
        if ended.any():
            observations = self._restart_lanes(ended)
            terminated, truncated = terminated & ~ended, truncated & ~ended
        return observations, rewards, terminated, truncated, infos

    @torch.inference_mode()
    def _restart_lanes(self, ended: np.ndarray) -> np.ndarray:
        """New episodes, as a reset without seeds begins them."""
        self._restart(np.flatnonzero(ended), [None] * self.num_envs)
        return self._observation()

    def _begin(self, lanes: Tensor, seeds: Sequence[int]) -> Tensor:
        self._lasted[lanes] = 1
        which = (self.noise.uniform(lanes, 1).flatten() * len(self.starts)).long()
        mu, logvar = self.starts[which].unbind(1)
        return sample_latent(mu, logvar, self.noise.normal(lanes, mu.shape[1]))

    def _outcome(self, lanes: Tensor, actions: Tensor, before: Moment, state: State) -> Outcome:
        dreaming = state if self.dreamer is self.rnn else self._dream_on(lanes, actions, before)
        prediction = self.dreamer.predict(dreaming.hidden)
        mixture = heat(prediction.mixture, self.temperature)
        size = self.dreamer.sizes.latent_size
        words = self.noise.words(lanes, 2 * size)
        latent = sample(mixture, uniform(words[:, :size]), normal(words[:, size:]))
        ones = torch.ones(len(lanes), device=self.device)
        reward = ones if prediction.reward is None else prediction.reward
        if self.weighed:
            reward = reward * self._lasted[lanes]
        done = self._ends(lanes, prediction.done_logit)
        return Outcome(latent, reward, done, before.steps + 1 >= self.task.time_limit)

    def _dream_on(self, lanes: Tensor, actions: Tensor, before: Moment) -> State:
        """Moves the state of a dreamer that is not the agent's memory; an episode's start zeroes
        it."""
        every = len(lanes) == self.num_envs
        state = self._dreaming if every else State(*(part[lanes] for part in self._dreaming))
        fed = self.task.to_model(actions)
        moved = self.dreamer.step(before.latent, fed, before.steps == 0, state)
        for part, new in zip(self._dreaming, moved, strict=True):
            part.copy_(new) if every else part.index_copy_(0, lanes, new)
        return moved

    def _ends(self, lanes: Tensor, logit: Tensor | None) -> Tensor:
        if logit is None:
            return torch.zeros(len(lanes), dtype=torch.bool, device=self.device)
        if self.weighed:
            return self._hardly_last(lanes, logit)
        if self.ends == "likely":
            return logit > 0
        return self.noise.uniform(lanes, 1).flatten() < self._chance(logit)

    def _chance(self, logit: Tensor) -> Tensor:
        """The done head's chance of an end, without the weight that ends had in its training."""
        return (logit - math.log(self.dreamer.sizes.done_weight)).sigmoid()

    def _hardly_last(self, lanes: Tensor, logit: Tensor) -> Tensor:
        """Lowers the lanes' chance of having lasted; an episode is over where it is negligible."""
        lasted = self._lasted[lanes] * (1 - self._chance(logit))
        self._lasted.index_copy_(0, lanes, lasted)
        return lasted < NEGLIGIBLE

    @torch.inference_mode()
    def render(self) -> tuple[np.ndarray, ...] | None:
        """Returns what lanes dream, drawn by V: frames (64, 64, 3) of bytes; None without a V."""
        if self.vae is None:
            return None
        return tuple(to_frames(self.vae.decode(self._now.latent)).numpy(force=True))


@dataclass(frozen=True)
class DreamFactory:
    """Opens dreams, in whichever process it is sent to."""

    task: Task
    rnn: MDNRNN
    """The agent's M, whose state C sees."""
    dreamer: MDNRNN
    """The M that dreams."""
    starts: Tensor
    """mu and log sigma^2 of first frames, (S, 2, z)."""
    config: DreamConfig
    """Its temperature, and how episodes end."""
    cell: bool
    """C sees the cell state too."""
    vae: VAE | None = None
    """Draws what is dreamed."""
    weighed: bool = False
    """Episodes don't end by chance; what they earn is weighed by the chance of having lasted."""

    def __call__(
        self, lanes: int, autoreset_mode: AutoresetMode = AutoresetMode.DISABLED
    ) -> DreamWorld:
        """Opens a dream of so many lanes."""
        return DreamWorld(
            self.task,
            self.rnn,
            self.dreamer,
            self.starts,
            lanes,
            self.config.temperature,
            self.cell,
            self.vae,
            autoreset_mode,
            ends=self.config.ends,
            weighed=self.weighed,
        )
