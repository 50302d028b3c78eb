"""The real world: a game seen through V, with M's state beside it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from world_models.rnn.mixture import negative_log_likelihood
from world_models.rnn.model import MDNRNN, State
from world_models.tasks.base import FRAME_SIZE, Task
from world_models.vae.model import VAE, sample_latent, to_frames, to_images
from world_models.worlds.base import Moment, Outcome, World, require_one_device
from world_models.worlds.games import Lanes


class RealWorld(World):
    """A game whose frames V encodes and M remembers: what C acts on in the paper's section 3.

    Lanes are reset together. Raises ValueError where V and M are on two devices.
    """

    def __init__(
        self,
        task: Task,
        lanes: Lanes,
        vae: VAE,
        rnn: MDNRNN,
        cell: bool,
        sampled: bool = True,
        patience: int = 0,
        curiosity: float = 0,
    ) -> None:
        """Opens the game.

        Args:
            lanes: the games, which are closed with the world.
            rnn: the agent's M, whose state C sees.
            cell: C sees M's cell state too.
            sampled: z is drawn from V's posterior (the paper), or else is its mean.
            patience: n > 0 cuts an episode off after n steps without a reward over 0.
            curiosity: weight in the reward of how badly M has predicted the frame that came: the
                NLL of its z, in nats a number (paper, section 5, where it is over 0).
        """
        require_one_device(rnn, V=vae)
        super().__init__(task, rnn, lanes.count, cell)
        self.render_mode = "rgb_array"
        self.lanes, self.vae, self.sampled, self.patience = lanes, vae, sampled, patience
        self.curiosity = curiosity
        self.frames = np.zeros((lanes.count, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
        self._rewarded_at = torch.zeros(lanes.count, dtype=torch.int64, device=self.device)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode in every lane; returns observations (lanes, F) float32.

        Raises ValueError where only some lanes are to be reset.
        """
        if options:
            raise ValueError(f"unknown options {sorted(options)}: all lanes are reset together")
        return super().reset(seed=seed)

    def _begin(self, lanes: Tensor, seeds: Sequence[int]) -> Tensor:
        shown = self.lanes.reset(seeds)
        self.frames[: len(seeds)] = shown
        self._rewarded_at[:] = 0
        return self._encode(lanes, shown)

    def _outcome(self, lanes: Tensor, actions: Tensor, before: Moment, state: State) -> Outcome:
        steps = before.steps + 1
        index = lanes.numpy(force=True)
        frames, *results = self.lanes.step(index, actions.numpy(force=True))
        self.frames[index] = frames
        reward, terminated, truncated = (torch.from_numpy(r).to(self.device) for r in results)
        self._rewarded_at[lanes] = torch.where(reward > 0, steps, self._rewarded_at[lanes])
        given_up = (steps - self._rewarded_at[lanes] >= self.patience) & (self.patience > 0)
        latent = self._encode(lanes, frames)
        if self.curiosity:
            mixture = self.rnn.predict(state.hidden).mixture
            surprise = negative_log_likelihood(mixture, latent).mean(-1)
            reward = reward + self.curiosity * surprise
        return Outcome(latent, reward, terminated, truncated | given_up)

    def _encode(self, lanes: Tensor, frames: np.ndarray) -> Tensor:
        images = to_images(torch.from_numpy(frames).to(self.device))
        mu, logvar = self.vae.encode(images)
        if not self.sampled:
            return mu
        return sample_latent(mu, logvar, self.noise.normal(lanes, mu.shape[1]))

    def render(self) -> tuple[np.ndarray, ...]:
        """Returns the games' frames (64, 64, 3) of bytes, as V sees them."""
        return tuple(self.frames.copy())

    @torch.inference_mode()
    def reconstructions(self) -> tuple[np.ndarray, ...]:
        """Returns what V makes of each game's z: frames (64, 64, 3) of bytes."""
        return tuple(to_frames(self.vae.decode(self._now.latent)).numpy(force=True))

    def close_extras(self, **kwargs: Any) -> None:
        """Stops the games."""
        self.lanes.close()
