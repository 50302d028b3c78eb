"""An agent: V, M and C together, and where its dreams begin."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from world_models.controller.checkpoint import load_controllers, read_task
from world_models.controller.policy import Controllers
from world_models.layout import AgentFiles as AgentFiles
from world_models.pretrained import located
from world_models.rnn.checkpoint import load_rnn
from world_models.rnn.inference import rnn_for_inference
from world_models.rnn.model import MDNRNN
from world_models.runtime.devices import best_device
from world_models.runtime.errors import CheckpointError, ConfigError
from world_models.tasks import get_task
from world_models.tasks.base import Task
from world_models.vae.checkpoint import load_vae
from world_models.vae.inference import vae_for_inference
from world_models.vae.model import VAE
from world_models.vae.starts import load_starts
from world_models.worlds.config import DreamConfig
from world_models.worlds.dream import DreamFactory, DreamWorld
from world_models.worlds.games import Lanes
from world_models.worlds.real import RealWorld


@dataclass(frozen=True)
class Agent:
    """V, M and C of one task, as networks."""

    task: Task
    vae: VAE
    rnn: MDNRNN
    controller: Controllers
    starts: Tensor
    """mu and log sigma^2 of first frames (S, 2, z), from which its dreams begin."""

    @classmethod
    def from_pretrained(
        cls, source: str | Path, task: str | None = None, device: torch.device | str | None = None
    ) -> "Agent":
        """Reads an agent that has learned.

        Args:
            source: the name of a task, for the agent that comes with this package; a folder; a
                version in MLflow's registry, `models:/world-models-takecover@champion`; or a
                repository of Hugging Face's hub, `owner/name` or `owner/name@revision`.
            task: the game that it has to be of; None takes any.
            device: where it is to compute; None for the GPU, if there is one.

        Raises WorldModelsError where there is no such agent, where it is of another game, and, as
        CheckpointError, where one of its files is missing or damaged, or they don't fit together.
        """
        with located(source) as files:
            name = task or read_task(files.controller)
            return load_agent(files, get_task(name), device or best_device())

    def real_world(self, lanes: Lanes) -> RealWorld:
        """Opens the game as this agent sees it."""
        sizes = self.controller.sizes
        return RealWorld(self.task, lanes, self.vae, self.rnn, sizes.cell, sizes.sampled)

    @property
    def dreams(self) -> DreamFactory:
        """What opens dreams of its own M, drawn by V: of the temperature, and ending as those did,
        that C was evolved or validated in."""
        sizes = self.controller.sizes
        dream = DreamConfig(temperature=sizes.temperature, ends=sizes.ends)
        return DreamFactory(self.task, self.rnn, self.rnn, self.starts, dream, sizes.cell, self.vae)

    def dream(
        self,
        lanes: int = 1,
        temperature: float | None = None,
        autoreset_mode: AutoresetMode = AutoresetMode.DISABLED,
        drawn: bool = True,
    ) -> DreamWorld:
        """Opens one of these dreams.

        Args:
            lanes: how many dreams step together.
            temperature: another tau, over 0; raises ConfigError for any other.
            autoreset_mode: Gymnasium's; what happens to lanes that have finished.
            drawn: `render` draws pictures.
        """
        dreams = self.dreams
        if temperature is not None:
            if not 0 < temperature < math.inf:
                raise ConfigError(f"temperature: {temperature} is not over 0")
            config = dreams.config.model_copy(update={"temperature": temperature})
            dreams = replace(dreams, config=config)
        return (dreams if drawn else replace(dreams, vae=None))(lanes, autoreset_mode)


def load_agent(files: AgentFiles, task: Task, device: torch.device | str) -> Agent:
    """Reads an agent onto a device.

    Raises CheckpointError where one of its files is missing, or they don't fit together.
    """
    vae = vae_for_inference(load_vae(files.vae), device)
    size = vae.sizes.latent_size
    rnn = rnn_for_inference(load_rnn(files.rnn, size, task.action_size), device)
    controller = load_controllers(files.controller, rnn).to(device)
    if controller.sizes.task not in (None, task.name):
        raise CheckpointError(files.controller, f"plays {controller.sizes.task}, not {task.name}")
    return Agent(task, vae, rnn, controller, load_starts(files.starts, size))
