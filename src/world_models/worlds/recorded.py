"""What C would have seen in an episode of the data set."""

import torch
from torch import Tensor

from world_models.data.store import Episode
from world_models.rnn.model import MDNRNN
from world_models.tasks.base import Task
from world_models.vae.model import sample_latent
from world_models.worlds.features import features


@torch.inference_mode()
def recorded_features(
    episode: Episode, task: Task, rnn: MDNRNN, cell: bool, sampled: bool = False
) -> Tensor:
    """Returns what C would have seen at each step of an episode of latents: (T, F), on M's device.

    For z it has the mean of V's posterior or, if `sampled`, a draw from it, the same at each call.
    """
    latents = torch.from_numpy(episode.frames["mu"]).to(rnn.device)
    if sampled:
        logvar = torch.from_numpy(episode.frames["logvar"]).to(rnn.device)
        generator = torch.Generator().manual_seed(episode.seed)
        normal = torch.randn(latents.shape, generator=generator).to(rnn.device)
        latents = sample_latent(latents, logvar, normal)
    actions = task.to_model(torch.from_numpy(episode.steps["actions"]).to(rnn.device))
    state, first = rnn.initial_state(1), torch.ones(1, dtype=torch.bool, device=rnn.device)
    seen = []
    for latent, action in zip(latents.split(1), actions.split(1), strict=False):
        seen.append(features(latent, state, cell))
        state = rnn.step(latent, action, first, state)
        first = torch.zeros_like(first)
    return torch.cat(seen)
