"""A dream that is easy to act in: its reward is the last action's, from -0.64 to 0.64."""

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from tests.counting import COUNTING
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.worlds.dream import DreamWorld

LATENT, HIDDEN, STEPS = 2, 4, 20
WIDE = 32 + 256
"""Features of the paper's size."""
SLOW_S = 1.0
TASK = replace(COUNTING, time_limit=STEPS)


def rewarding_rnn() -> MDNRNN:
    """M whose first hidden unit is tanh(tanh(action)), which is its reward; it ends nothing."""
    torch.manual_seed(0)
    sizes = MDNRNNSizes(LATENT, 1, HIDDEN, 2, False, reward_head=True, done_head=True)
    rnn = MDNRNN(sizes).eval().requires_grad_(False)
    # Rows of the LSTM: its input, forget, cell and output gates, HIDDEN each.
    into, forget, cell, output = (gate * HIDDEN for gate in range(4))
    for row in (into, forget, cell, output):
        rnn.lstm.weight_ih_l0[row] = 0
        rnn.lstm.weight_hh_l0[row] = 0
    rnn.lstm.bias_ih_l0[[into, output]] = 20
    rnn.lstm.bias_ih_l0[forget] = -20
    rnn.lstm.weight_ih_l0[cell, LATENT] = 1
    rnn.heads.weight[-2:] = 0
    rnn.heads.weight[-2, 0] = 1
    rnn.heads.bias[-2:] = torch.tensor([0.0, -5.0])
    return rnn


class Grey:
    """In V's place: it draws everything grey."""

    device = torch.device("cpu")

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Images of 51 in 255."""
        return torch.full((len(latent), 3, 64, 64), 0.2)


def rewarding_dream(
    lanes: int, device: str = "cpu", dtype: torch.dtype = torch.float32, **more: object
) -> DreamWorld:
    """A dream of that M."""
    starts = torch.zeros(3, 2, LATENT)  # N(0, 1)
    rnn = rewarding_rnn().to(device, dtype)
    return DreamWorld(TASK, rnn, rnn, starts, lanes, 1.0, cell=False, **more)


def dying_dream(lanes: int, **more: object) -> DreamWorld:
    """The same, where a lane dies at a step that hangs on what it dreamed."""
    world = rewarding_dream(lanes, **more)
    world.rnn.lstm.weight_ih_l0[1 : HIDDEN * 4 : HIDDEN] = 3  # its second unit feels z
    world.rnn.heads.weight[-1, 1] = 8
    return world


def wide_dream(lanes: int, kind: type[DreamWorld] = DreamWorld) -> DreamWorld:
    """A dream whose M is as large as the paper's, so that its products round by their size."""
    torch.manual_seed(0)
    sizes = MDNRNNSizes(WIDE - 256, 1, 256, 5, False, reward_head=True, done_head=True)
    rnn = MDNRNN(sizes).eval().requires_grad_(False)
    starts = torch.zeros(1, 2, sizes.latent_size)
    return kind(TASK, rnn, rnn, starts, lanes, 1.0, cell=False)


class SlowDream(DreamWorld):
    """One that takes its time to begin."""

    def begin(self, seeds: Sequence[int]) -> None:
        time.sleep(SLOW_S)
        super().begin(seeds)


def slow_dream(lanes: int) -> DreamWorld:
    """The wide dream, but slow."""
    return wide_dream(lanes, SlowDream)


def wide_candidates(count: int) -> Controllers:
    """Random controllers for that dream."""
    torch.manual_seed(1)
    sizes = ControllerSizes(WIDE, 1, bias=True, cell=False)
    return Controllers(sizes, torch.randn(count, sizes.parameter_count))


def pushed(features: torch.Tensor) -> torch.Tensor:
    """A policy that always does the same."""
    return features.new_ones(len(features), 1)
