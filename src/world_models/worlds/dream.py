"""The dream: M alone, playing the game to itself."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from world_models.data.store import EpisodeStore
from world_models.models.mdn import heat, sample
from world_models.models.mdnrnn import MDNRNN, State
from world_models.models.vae import VAE, sample_latent, to_frames
from world_models.task import Task
from world_models.worlds.noise import normal, uniform
from world_models.worlds.world import Outcome, World


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
        starts: Tensor,
        count: int,
        temperature: float,
        cell: bool,
        vae: VAE | None = None,
        autoreset_mode: AutoresetMode = AutoresetMode.DISABLED,
        done_weight: float | None = None,
    ) -> None:
        """Opens a dream.

        Args:
            starts: mu and log sigma^2 of first frames, (S, 2, z).
            temperature: tau > 0; 1 draws from the mixture as it was learned.
            vae: draws the frames of `render`; without it there are none.
            autoreset_mode: Gymnasium's; what happens to lanes that have finished.
            done_weight: how much more than others M's training weighed steps that end an episode.
                With it, an episode ends by the chance that the done head gives, corrected for that
                weight, which multiplies its odds; None: as soon as its logit is over 0.
        """
        super().__init__(task, rnn, count, cell)
        self.starts, self.temperature, self.vae = starts.to(self.device), temperature, vae
        self.done_weight = done_weight
        self.unbroken = self.device.type != "cpu"
        self.render_mode = None if vae is None else "rgb_array"
        self.autoreset_mode = autoreset_mode
        self.metadata = {
            "autoreset_mode": autoreset_mode,
            "render_modes": ["rgb_array"],
            "render_fps": 50,
        }

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Takes a step in every lane, and restarts those that have finished as the mode asks."""
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
        """New episodes out of the lanes' own streams of noise."""
        self._begin_episodes(torch.from_numpy(np.flatnonzero(ended)).to(self.device), [])
        return self._observation()

    def _begin(self, lanes: Tensor, seeds: Sequence[int]) -> Tensor:
        which = (self.noise.uniform(lanes, 1).flatten() * len(self.starts)).long()
        mu, logvar = self.starts[which].unbind(1)
        return sample_latent(mu, logvar, self.noise.normal(lanes, mu.shape[1]))

    def _outcome(self, lanes: Tensor, actions: Tensor, state: State, steps: Tensor) -> Outcome:
        prediction = self.rnn.predict(state.hidden)
        mixture = heat(prediction.mixture, self.temperature)
        size = self.rnn.sizes.latent_size
        words = self.noise.words(lanes, 2 * size)
        latent = sample(mixture, uniform(words[:, :size]), normal(words[:, size:]))
        ones = torch.ones(len(lanes), device=self.device)
        reward = ones if prediction.reward is None else prediction.reward
        done = self._ends(lanes, prediction.done_logit)
        return Outcome(latent, reward, done, steps >= self.task.time_limit)

    def _ends(self, lanes: Tensor, logit: Tensor | None) -> Tensor:
        if logit is None:
            return torch.zeros(len(lanes), dtype=torch.bool, device=self.device)
        if self.done_weight is None:
            return logit > 0
        chance = (logit - math.log(self.done_weight)).sigmoid()
        return self.noise.uniform(lanes, 1).flatten() < chance

    @torch.inference_mode()
    def render(self) -> tuple[np.ndarray, ...] | None:
        """What each lane dreams, drawn by V: frames (64, 64, 3) of bytes."""
        if self.vae is None:
            return None
        return tuple(to_frames(self.vae.decode(self._now.latent)).numpy(force=True))


def first_latents(latents: EpisodeStore, count: int) -> Tensor:
    """Where dreams begin: mu and log sigma^2 of first frames, at most `count` of them (S, 2, z).

    They are of episodes that are spread over the data set, and so over its rounds.
    """
    episodes = latents.episodes()
    spread = np.linspace(0, len(episodes) - 1, min(count, len(episodes))).astype(int)
    first = [
        [latents.read_frames(episodes[i], name, 0, 1)[0] for name in ("mu", "logvar")]
        for i in spread
    ]
    return torch.from_numpy(np.asarray(first))
