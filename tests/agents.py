"""Agents that have learned nothing."""

from contextlib import AbstractContextManager
from pathlib import Path

import torch

import world_models
from world_models.controller.checkpoint import save_controllers
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.layout import AgentFiles
from world_models.rnn.checkpoint import save_rnn
from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.tasks import get_task
from world_models.tracking.embedded import default_uri
from world_models.tracking.registry import AgentModel
from world_models.tracking.run import StageRun, stage_run
from world_models.vae.checkpoint import save_vae
from world_models.vae.model import VAE, VAESizes
from world_models.vae.starts import save_starts


def write_agent(
    folder: Path,
    task: str = "pendulum",
    *,
    still: bool = False,
    dies: bool = False,
    sizes: tuple[int, int, int] = (4, 8, 2),
) -> AgentFiles:
    """Writes one with random weights; a `still` one does nothing, and one that `dies` may do so at
    any step of its dreams. `sizes` are those of z and of M's state, and its Gaussians."""
    torch.manual_seed(0)
    files, actions = AgentFiles.of(folder), get_task(task).action_size
    latent, hidden, mixtures = sizes
    save_vae(files.vae, VAE(VAESizes(latent)))
    heads = {"reward_head": True, "done_head": dies}
    rnn = MDNRNN(MDNRNNSizes(latent, actions, hidden, mixtures, dies, **heads))
    if dies:
        rnn.heads.bias.data[-1] = -3
    save_rnn(files.rnn, rnn)
    save_controllers(files.controller, a_controller(latent + hidden, task, not still))
    save_starts(files.starts, torch.zeros(3, 2, latent))
    return files


def registering(root: Path, task: str) -> AbstractContextManager[StageRun]:
    """A run of stage register in the store embedded in a folder."""
    return stage_run(
        uri=default_uri(root),
        experiment="world-models",
        stage="register",
        task=task,
        scale="smoke",
        revision="abc123",
    )


def as_model(task: str, files: AgentFiles) -> AgentModel:
    """Such an agent as MLflow is to have it."""
    code = Path(world_models.__file__).with_name("served.py")
    return AgentModel(task, files, code, 1, 8, "world-models-vmc")


def a_controller(features: int, task: str, scale: float = 1.0) -> Controllers:
    """One C with random weights."""
    actions = get_task(task).action_size
    sizes = ControllerSizes(
        features, actions, True, False, temperature=1.3, ends="drawn", task=task
    )
    return Controllers(sizes, scale * torch.randn(1, sizes.parameter_count))
