"""Playing whole episodes, in any world or in a game by itself."""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from world_models.config import Simulator
from world_models.task import Task
from world_models.worlds.pixels import open_lanes
from world_models.worlds.world import World

Policy = Callable[[Tensor], Tensor]
"""Features (lanes, F) to actions (lanes, a) in [-1, 1], on the world's device."""
STRIDE = 16
"""Steps between two looks at whether anybody still plays, where a look waits for the device."""


class Played(NamedTuple):
    """What came of one episode a lane."""

    returns: np.ndarray
    """Sums of rewards (lanes,)."""
    lengths: np.ndarray
    """Steps (lanes,)."""


@torch.inference_mode()
def play(
    world: World,
    policy: Policy,
    seeds: Sequence[int],
    repeatable: bool = False,
) -> Played:
    """Plays one episode a seed, lane i from seeds[i], until the last one ends.

    Args:
        repeatable: the policy is a function of its features alone, all in tensors.
    """
    returns = torch.zeros(world.num_envs, dtype=torch.float64, device=world.device)

    def step() -> None:
        returns.add_(world.advance(policy(world.features())))

    world.begin(seeds)
    if repeatable and world.unbroken and world.device.type == "cuda":
        step = captured(step)
        world.begin(seeds)
        returns.zero_()
    while not world.finished.all():
        for _ in range(STRIDE if world.unbroken else 1):
            step()
    played = returns, world.steps
    return Played(*(figure[: len(seeds)].numpy(force=True).copy() for figure in played))


def joined(played: Sequence[Played]) -> Played:
    """The episodes of several, one after the other."""
    return Played(*(np.concatenate(figure) for figure in zip(*played, strict=True)))


def captured(step: Callable[[], object]) -> Callable[[], None]:
    """A step as a CUDA graph: the GPU repeats it without Python, and without a launch for each op.

    Takes a few steps on the way, as the capture needs libraries that are warm.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    # The graph goes on working on the step's tensors, and doesn't keep them.
    return partial(_replay, graph, step)


def _replay(graph: torch.cuda.CUDAGraph, _kept: Callable[[], object]) -> None:
    graph.replay()


def play_blind(
    task: Task,
    simulator: Simulator,
    act: Callable[[np.ndarray], np.ndarray],
    seeds: Sequence[int],
) -> Played:
    """One episode a seed in the game, side by side in as many lanes.

    `act` takes lanes (k,) to actions (k, a) and sees nothing, so nothing needs to be drawn.
    """
    returns, lengths = np.zeros(len(seeds)), np.zeros(len(seeds), np.int64)
    playing = np.arange(len(seeds))
    with closing(open_lanes(task.undrawn(), len(seeds), simulator)) as lanes:
        lanes.reset(seeds)
        while len(playing):
            _, rewards, terminated, truncated = lanes.step(playing, act(playing))
            returns[playing] += rewards
            lengths[playing] += 1
            playing = playing[~(terminated | truncated)]
    return Played(returns, lengths)
