"""Where C's features lie on average: evolution is quicker in coordinates around that point."""

import torch
from torch import Tensor

from world_models.controller.policy import ControllerSizes, weights_and_biases
from world_models.data.store import EpisodeStore
from world_models.rnn.model import MDNRNN
from world_models.tasks.base import Task
from world_models.worlds.recorded import recorded_features

EPISODES = 20
"""Episodes that the mean is taken of, spread evenly over the data set."""


def feature_mean(store: EpisodeStore, task: Task, rnn: MDNRNN, cell: bool) -> Tensor:
    """Returns the mean of what C sees over steps of the data set: (F,), on the CPU."""
    episodes = store.episodes()
    some = episodes[:: -(-len(episodes) // EPISODES)]
    seen = [recorded_features(store.read(at), task, rnn, cell) for at in some]
    return torch.cat(seen).mean(dim=0).cpu()


def decentre(sizes: ControllerSizes, parameters: Tensor, mean: Tensor) -> Tensor:
    """Parameters (P, ...) of C on features less their mean, as those of C on features themselves.

    The same agent, W (x - m) + b = W x + (b - W m): only the bias of the first layer changes.
    `mean` is of the features that C acts on (F,). Raises ValueError for a C without a bias.
    """
    if not sizes.bias:
        raise ValueError("a C without bias has no place for the features' mean")
    (weight, bias), *_ = weights_and_biases(sizes, parameters)
    first = torch.cat([weight.flatten(1), bias - weight @ mean.to(weight)], dim=1)
    return torch.cat([first, parameters[:, first.shape[1] :]], dim=1)
