"""V and M without a world, and the precision in which this machine runs them best."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import cache, partial

import torch

from benchmarks import fixtures
from benchmarks.measure import Work, quickest
from world_models.rnn.model import MDNRNN
from world_models.runtime.config import WeightsPrecision
from world_models.runtime.devices import best_device, cores
from world_models.runtime.precision import has_bfloat16, weights_dtype
from world_models.vae.model import VAE, to_images
from world_models.worlds.rollout import captured

CHOOSING_S = 0.3
"""Of each measurement that chooses a precision."""
STEPS = 20
"""A piece of work: only at its end is a GPU waited for."""


def networks(name: str, count: int, precision: WeightsPrecision) -> Work:
    """V and M on so many frames, without a game; each core has a share, as in an evaluator."""
    vae, rnn = fixtures.vae(name, precision), fixtures.rnn(name, precision)
    share = -(-count // cores(vae.device))
    return side_by_side([through(vae, rnn, share) for _ in range(-(-count // share))])


def eager(name: str, count: int) -> Work:
    """The same in float32, as torch has them: one batch, all cores at each layer."""
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


def side_by_side(works: Sequence[Work]) -> Work:
    """A piece of each at once, a core each: they need not wait for each other at every layer."""
    if len(works) == 1:
        return works[0]
    # Kept for all pieces: new threads for each cost 2% of its time.
    share = partial(torch.set_num_threads, max(1, torch.get_num_threads() // len(works)))
    pool = ThreadPoolExecutor(len(works), initializer=share)
    return Work(lambda: sum(pool.map(lambda work: work.run(), works)))


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
