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
    """V, M and C of one game, loaded for acting (paper, section 2)."""

    task: Task
    """The game that it plays."""
    vae: VAE
    """V: a frame to z."""
    rnn: MDNRNN
    """M: z, the action and its state to the next z."""
    controller: Controllers
    """C: features to actions; a population of one."""
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
        """Opens a game as this agent sees it, through V and M (paper, section 3).

        `lanes` are the games, of `open_lanes(agent.task, n)`; they are closed with the world, whose
        observations are what C sees, (n, F) float32. Raises ValueError where V and M are on two
        devices.
        """
        sizes = self.controller.sizes
        return RealWorld(self.task, lanes, self.vae, self.rnn, sizes.cell, sizes.sampled)

    @property
    def dreams(self) -> DreamFactory:
        """What opens dreams of this agent's own M, drawn by V (paper, section 4): of the
        temperature, and ending as those did, that C was evolved or validated in."""
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
        """Opens a dream of this agent's own M (paper, section 4).

        Args:
            lanes: how many dreams step together, from 1 on.
            temperature: another tau than the one that C was evolved or validated at, over 0.
            autoreset_mode: Gymnasium's; what happens to lanes that have finished.
            drawn: `render` draws pictures.

        Its observations are what C sees, (lanes, F) float32, and its actions (lanes, a) in [-1, 1].
        Raises ConfigError for a temperature that is not over 0.
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
    if len(controller) != 1:
        raise CheckpointError(
            files.controller, f"holds {len(controller)} C's, and an agent has one"
        )
    return Agent(task, vae, rnn, controller, load_starts(files.starts, size))
