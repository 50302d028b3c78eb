"""The loops that replications use: one game or one dream a process, a batch of one, on the CPU."""

from contextlib import chdir
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks import fixtures
from benchmarks.loops import Piece
from world_models.tasks import get_task

STEPS = 20
"""Steps a piece."""
FIRST = torch.zeros(1, dtype=torch.bool)


def car_racing(number: int) -> Piece:
    """Gymnasium's own CarRacing, each frame resized, seen and acted on by itself.

    V draws the frame again and M reads its heads, though C needs neither: the replication of
    Tallec, Blier and Kalainathan calls both networks whole, as they are trained, at every step.
    """
    task = get_task("carracing")
    vae, rnn = fixtures.fresh_vae("carracing"), fixtures.fresh_rnn("carracing")
    controller = fixtures.controllers("carracing")
    game = gymnasium.make("CarRacing-v3")
    seen: dict[str, np.ndarray] = {"frame": game.reset(seed=number)[0]}
    state = rnn.initial_state(1)

    @torch.inference_mode()
    def piece() -> int:
        nonlocal state
        for _ in range(STEPS):
            image = torch.from_numpy(seen["frame"][:84]).permute(2, 0, 1)[None].float() / 255
            _, latent, _ = vae(interpolate(image, (64, 64), mode="bilinear"))
            action = controller.act(torch.cat([latent, state.hidden], dim=1))
            state = rnn.step(latent, task.to_model(action), FIRST, state)
            rnn.predict(state.hidden)
            seen["frame"], _, terminated, truncated, _ = game.step(task.to_env(action.numpy())[0])
            if terminated or truncated:
                seen["frame"], _ = game.reset()
        return STEPS

    return piece


def take_cover_dream(number: int) -> Piece:
    """One dream in TakeCover's sizes: an LSTMCell, a linear layer, torch's distributions."""
    sizes, temperature = fixtures.fresh_rnn("takecover").sizes, 1.15
    controller = fixtures.controllers("takecover")
    torch.manual_seed(number)
    cell = torch.nn.LSTMCell(sizes.latent_size + 1, sizes.hidden_size)
    heads = torch.nn.Linear(sizes.hidden_size, 3 * sizes.mixtures * sizes.latent_size + 1)
    latent, state = torch.randn(1, sizes.latent_size), (torch.zeros(1, sizes.hidden_size),) * 2

    @torch.inference_mode()
    def piece() -> int:
        nonlocal latent, state
        for _ in range(STEPS):
            action = controller.act(torch.cat([latent, *state], dim=1))
            state = cell(torch.cat([latent, action], dim=1), state)
            latent = drawn(heads(state[0]))
        return STEPS

    def drawn(outputs: Tensor) -> Tensor:
        parts = outputs[:, :-1].unflatten(1, (sizes.latent_size, sizes.mixtures, 3))
        logits, mu, log_sigma = parts.unbind(-1)
        chosen = torch.distributions.Categorical(logits=logits / temperature).sample()
        mu, log_sigma = (part.gather(-1, chosen[..., None])[..., 0] for part in (mu, log_sigma))
        return torch.normal(mu, log_sigma.exp() * temperature**0.5)

    return piece


def doom(number: int) -> Piece:
    """TakeCover in ViZDoom with no policy."""
    task = get_task("takecover")
    # ViZDoom leaves files where it starts, and two that start in one folder race for them.
    home = TemporaryDirectory(prefix="world-models-bench-")
    with chdir(home.name):
        game = gymnasium.make(task.env_id, **task.env_kwargs)
        game.reset(seed=number)
    return partial(_wander, home, game)  # the game is let go of first


def _wander(home: TemporaryDirectory[str], game: gymnasium.Env[Any, Any]) -> int:
    """Steps of the game; its home stays for as long as there may be some."""
    for step in range(STEPS):
        *_, terminated, truncated, _ = game.step(step % 3)
        if terminated or truncated:
            game.reset()
    return STEPS
