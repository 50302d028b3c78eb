"""An agent: V, M and C together."""

from dataclasses import dataclass

import torch

from world_models.controller.checkpoint import load_controllers
from world_models.controller.policy import Controllers
from world_models.layout import AgentFiles as AgentFiles
from world_models.rnn.checkpoint import load_rnn
from world_models.rnn.inference import rnn_for_inference
from world_models.rnn.model import MDNRNN
from world_models.tasks.base import Task
from world_models.vae.checkpoint import load_vae
from world_models.vae.inference import vae_for_inference
from world_models.vae.model import VAE
from world_models.worlds.games import Lanes
from world_models.worlds.real import RealWorld


@dataclass(frozen=True)
class Agent:
    """V, M and C of one task, as networks."""

    vae: VAE
    rnn: MDNRNN
    controller: Controllers


def load_agent(files: AgentFiles, action_size: int, device: torch.device) -> Agent:
    """Reads V, M and C onto a device.

    Raises CheckpointError where they are missing or don't fit together.
    """
    vae = vae_for_inference(load_vae(files.vae), device)
    rnn = rnn_for_inference(load_rnn(files.rnn, vae.sizes.latent_size, action_size), device)
    return Agent(vae, rnn, load_controllers(files.controller, rnn).to(device))


def agent_world(task: Task, lanes: Lanes, agent: Agent) -> RealWorld:
    """Opens the game as this agent sees it."""
    sizes = agent.controller.sizes
    return RealWorld(task, lanes, agent.vae, agent.rnn, sizes.cell, sizes.sampled)
