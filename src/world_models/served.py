"""An agent as an MLflow model: the code that a registered version is loaded with.

MLflow copies this file into the model and runs it there, so no file of a model is a pickle; the
package has to be installed where a model is loaded.
"""

from collections.abc import Mapping
from pathlib import Path

import mlflow
import numpy as np
import torch
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from torch import Tensor

from world_models.agent import Agent
from world_models.rnn.model import State
from world_models.vae.model import sample_latent, to_images
from world_models.worlds.features import features
from world_models.worlds.noise import LaneNoise

MEAN = -1
"""The seed that stands for none."""


class ServedAgent(PythonModel):
    """An agent that is told what it remembers, and tells what it is to be told next.

    M has a state, and a call of `predict` keeps none: hidden and cell state go in with the frames,
    zeros where an episode begins, and come out with the actions.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Reads the agent's files."""
        torch.backends.cudnn.allow_tf32 = False
        self.agent = Agent.from_pretrained(Path(context.artifacts["agent"]))

    # MLflow would hold any hint here for a schema; the model has a signature.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Acts on frames, and takes them and the actions into memory.

        Args:
            model_input: arrays by name, `frame` (N, 64, 64, 3) of bytes, `hidden` and `cell` (N, h)
                float32.
            params: `seed` and `step` of the first one's episode, the others having the seeds that
                follow. They draw z as the game does that the agent plays in; without a seed (-1) z
                is its mean, as it always is of an agent that was evolved so.

        Returns arrays by name, `action` (N, a) in [-1, 1], and `hidden` and `cell` for the frames
        that follow.
        """
        return self._act(model_input, **(params or {}))

    @torch.inference_mode()
    def _act(
        self, given: Mapping[str, np.ndarray], seed: int = MEAN, step: int = 0
    ) -> dict[str, np.ndarray]:
        rnn, controller = self.agent.rnn, self.agent.controller
        arrays = {name: torch.as_tensor(part, device=rnn.device) for name, part in given.items()}
        before = State(arrays["hidden"], arrays["cell"])
        latent = self._latent(arrays["frame"], seed, step)
        action = controller.act(features(latent, before, controller.sizes.cell))
        begins = ~(before.hidden.any(1) | before.cell.any(1))
        after = rnn.step(latent, self.agent.task.to_model(action), begins, before)
        found = {"action": action, "hidden": after.hidden, "cell": after.cell}
        return {name: part.numpy(force=True) for name, part in found.items()}

    def _latent(self, frames: Tensor, seed: int, step: int) -> Tensor:
        mu, logvar = self.agent.vae.encode(to_images(frames))
        if seed == MEAN or not self.agent.controller.sizes.sampled:
            return mu
        noise, lanes = LaneNoise(len(mu), mu.device), torch.arange(len(mu), device=mu.device)
        noise.seed(lanes, range(seed, seed + len(mu)))
        noise.drawn += step * mu.shape[1]
        return sample_latent(mu, logvar, noise.normal(lanes, mu.shape[1]))


mlflow.models.set_model(ServedAgent())
