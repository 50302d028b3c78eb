"""Playing whole episodes, in any world or in a game by itself."""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from world_models.tasks.base import Simulator, Task
from world_models.worlds.base import World
from world_models.worlds.games import Lanes, open_lanes

FeaturePolicy = Callable[[Tensor], Tensor]
"""Features (lanes, F) to actions (lanes, a) in [-1, 1], on the world's device."""
Act = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Lanes (k,) and their frames (k, 64, 64, 3) to actions (k, a) float32 in [-1, 1]."""
STRIDE = 16
"""Steps between two looks at whether anybody still plays, where a look waits for the device."""


class Played(NamedTuple):
    """Returns and lengths of episodes, one a seed; an evaluator's are (P, S)."""

    returns: np.ndarray
    """Sums of rewards (seeds,), float64."""
    lengths: np.ndarray
    """Steps (seeds,), int64."""


@torch.inference_mode()
def play(
    world: World,
    policy: FeaturePolicy,
    seeds: Sequence[int],
    repeatable: bool = False,
) -> Played:
    """Plays one episode a seed, lane i from seeds[i], until the last one ends.

    Args:
        world: where; it has as many lanes as there are seeds, or more.
        policy: features (lanes, F) to actions (lanes, a) in [-1, 1].
        seeds: the episodes', in [0, 2^31).
        repeatable: the policy uses torch's operations alone, so that a GPU may repeat a step.

    Raises ValueError where there are more seeds than lanes.
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
    """Joins the episodes of several, one after the other."""
    return Played(*(np.concatenate(figure) for figure in zip(*played, strict=True)))


def captured(step: Callable[[], object]) -> Callable[[], None]:
    """Makes a CUDA graph of a step: the GPU repeats it without Python, or a launch for each op.

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


def play_games(lanes: Lanes, act: Act, seeds: Sequence[int]) -> Played:
    """Plays one episode a seed in games by themselves, which rest once they have ended."""
    returns, lengths = np.zeros(len(seeds)), np.zeros(len(seeds), np.int64)
    playing, frames = np.arange(len(seeds)), lanes.reset(seeds)
    while len(playing):
        frames, rewards, terminated, truncated = lanes.step(playing, act(playing, frames))
        returns[playing] += rewards
        lengths[playing] += 1
        goes_on = ~(terminated | truncated)
        playing, frames = playing[goes_on], frames[goes_on]
    return Played(returns, lengths)


def play_blind(
    task: Task,
    simulator: Simulator,
    act: Callable[[np.ndarray], np.ndarray],
    seeds: Sequence[int],
) -> Played:
    """Plays one episode a seed in the game, side by side in as many lanes.

    `act` takes lanes (k,) to actions (k, a) and sees nothing, so nothing needs to be drawn.
    """
    with closing(open_lanes(task.undrawn(), len(seeds), simulator)) as lanes:
        return play_games(lanes, lambda playing, _: act(playing), seeds)
