"""Agents that have learned nothing."""

from pathlib import Path

import torch

from world_models.controller.checkpoint import save_controllers
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.layout import AgentFiles
from world_models.rnn.checkpoint import save_rnn
from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.tasks import get_task
from world_models.vae.checkpoint import save_vae
from world_models.vae.model import VAE, VAESizes
from world_models.vae.starts import save_starts


def write_agent(
    folder: Path, task: str = "pendulum", *, still: bool = False, dies: bool = False
) -> AgentFiles:
    """Writes one with random weights; a `still` one does nothing, and one that `dies` may do so at
    any step of its dreams."""
    torch.manual_seed(0)
    files, actions = AgentFiles.of(folder), get_task(task).action_size
    save_vae(files.vae, VAE(VAESizes(4)))
    rnn = MDNRNN(MDNRNNSizes(4, actions, 8, 2, False, reward_head=True, done_head=dies))
    if dies:
        rnn.heads.bias.data[-1] = -3
    save_rnn(files.rnn, rnn)
    sizes = ControllerSizes(12, actions, True, False, temperature=1.3, ends="drawn", task=task)
    parameters = torch.randn(1, sizes.parameter_count) * (not still)
    save_controllers(files.controller, Controllers(sizes, parameters))
    save_starts(files.starts, torch.zeros(3, 2, 4))
    return files
