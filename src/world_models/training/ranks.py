"""Processes that train together, a device each, which DDP calls ranks.

Each has its part of every batch. Rank 0 leads: it alone logs and writes.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from world_models.runtime.config import Strategy
from world_models.runtime.errors import ConfigError


@dataclass(frozen=True)
class Devices:
    """What a training runs on, as Lightning's Trainer is told it, and this process's part in it."""

    devices: int = 1
    """Of each node."""
    num_nodes: int = 1
    strategy: Strategy = "auto"
    rank: int = 0

    @property
    def count(self) -> int:
        """How many there are together."""
        return self.devices * self.num_nodes

    @property
    def are_one(self) -> bool:
        """Whether a process trains by itself."""
        return self.count == 1 and self.strategy == "auto"

    @property
    def leads(self) -> bool:
        """Whether this process logs and writes."""
        return self.rank == 0

    def require(self) -> None:
        """Raises ConfigError where this machine has fewer GPUs, and has any."""
        found = torch.cuda.device_count()
        if torch.cuda.is_available() and self.devices > found:
            raise ConfigError(f"machine.devices: {self.devices}: this machine has {found}")


ONE_DEVICE = Devices()


def rank() -> int:
    """Returns which of the processes this is, once they train together; 0 where one is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    """Returns how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def total(values: Tensor) -> Tensor:
    """Returns the sum over ranks; each of them has to ask, with a tensor on its device."""
    if ranks() == 1:
        return values
    values = values.detach().clone()
    dist.all_reduce(values)
    return values


def mean(values: Tensor) -> Tensor:
    """Returns the mean over ranks; each of them has to ask, with a tensor on its device."""
    return values if ranks() == 1 else total(values) / ranks()


def own(lanes: Tensor) -> Tensor:
    """Returns this rank's of all lanes (N, ...): every so many-th."""
    return lanes if ranks() == 1 else lanes[rank() :: ranks()].contiguous()


def of_all(lanes: Tensor) -> Tensor:
    """Returns all lanes (N, ...), of which each rank gives its own."""
    if ranks() == 1:
        return lanes
    parts = [torch.empty_like(lanes) for _ in range(ranks())]
    dist.all_gather(parts, lanes.contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)
