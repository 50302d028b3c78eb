"""An agent: V, M and C together."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from world_models.models.checkpoint import load_controllers, load_rnn, load_vae
from world_models.models.controller import Controllers
from world_models.models.inference import for_inference
from world_models.models.mdnrnn import MDNRNN
from world_models.models.vae import VAE


class AgentFiles(NamedTuple):
    """Where an agent's parts are."""

    vae: Path
    rnn: Path
    controller: Path


@dataclass(frozen=True)
class Agent:
    """V, M and C of one task."""

    vae: VAE
    rnn: MDNRNN
    controller: Controllers


def load_agent(files: AgentFiles, action_size: int, device: torch.device) -> Agent:
    """Reads V, M and C onto a device.

    Raises CheckpointError where they are missing or don't fit together.
    """
    vae = for_inference(load_vae(files.vae), device)
    rnn = for_inference(load_rnn(files.rnn, vae.sizes.latent_size, action_size), device)
    return Agent(vae, rnn, load_controllers(files.controller, rnn).to(device))
