"""V and M without a world, and the precision in which this machine runs them best."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache

import torch

from benchmarks import fixtures
from benchmarks.measure import Work, quickest
from world_models.config import WeightsPrecision
from world_models.execution import best_device
from world_models.models.mdnrnn import MDNRNN
from world_models.models.precision import has_bfloat16, weights_dtype
from world_models.models.vae import VAE, to_images
from world_models.worlds.rollout import captured

CHOOSING_S = 0.3
"""Of each measurement that chooses a precision."""
STEPS = 20
"""A piece of work: only at its end is a GPU waited for."""


def networks(name: str, count: int, precision: WeightsPrecision) -> Work:
    """V and M on a batch of frames, without a game."""
    return through(fixtures.vae(name, precision), fixtures.rnn(name, precision), count)


def eager(name: str, count: int) -> Work:
    """The same in float32 and as torch has them."""
    vae, rnn = deepcopy(fixtures.fresh_vae(name)), deepcopy(fixtures.fresh_rnn(name))
    return through(vae.to(best_device()), rnn.to(best_device()), count)


def through(vae: VAE, rnn: MDNRNN, count: int) -> Work:
    """Frames seen and remembered, so many at a time."""
    frames = torch.zeros(count, 64, 64, 3, dtype=torch.uint8, device=vae.device)
    action = torch.zeros(count, rnn.sizes.action_size, device=vae.device)
    first = torch.zeros(count, dtype=torch.bool, device=vae.device)
    state = rnn.initial_state(count)

    @torch.inference_mode()
    def step() -> None:
        latent, _ = vae.encode(to_images(frames))
        rnn.step(latent, action, first, state)

    return repeated(step, count)


def products(name: str, count: int, precision: WeightsPrecision) -> Work:
    """The matrix products of a step of M in so many dreams, and nothing else."""
    rnn = deepcopy(fixtures.fresh_rnn(name)).to(best_device(), weights_dtype(precision))
    lstm = (rnn.lstm.get_parameter(f"weight_{part}_l0") for part in ("ih", "hh"))
    weights = [*lstm, rnn.heads.weight]
    pairs = [(weight.new_zeros(count, weight.shape[1]), weight) for weight in weights]

    @torch.inference_mode()
    def multiply() -> None:
        for inputs, weight in pairs:
            torch.nn.functional.linear(inputs, weight)

    return repeated(captured(multiply) if rnn.device.type == "cuda" else multiply, count)


def repeated(step: Callable[[], None], count: int) -> Work:
    """A step of so many units, again and again."""

    def steps() -> int:
        for _ in range(STEPS):
            step()
        return STEPS * count

    return Work(steps)


@cache
def best_precision(
    work: Callable[[str, int, WeightsPrecision], Work], name: str, count: int
) -> WeightsPrecision:
    """The precision in which this work is done most quickly here, as measured.

    That a processor has bfloat16 doesn't say that it is quicker in it.
    """
    choices: list[WeightsPrecision] = ["32-true", "bf16-true"] if has_bfloat16() else ["32-true"]
    return quickest({choice: work(name, count, choice) for choice in choices}, CHOOSING_S)
