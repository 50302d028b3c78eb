"""The loops that replications use: one game or one dream a process, a batch of one."""

import gymnasium
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks import fixtures
from benchmarks.crew import Piece
from world_models.models.mdnrnn import State
from world_models.models.vae import sample_latent
from world_models.tasks import get_task

STEPS = 20
"""Steps a piece."""
FIRST = torch.zeros(1, dtype=torch.bool)


def car_racing(number: int) -> Piece:
    """Gymnasium's own CarRacing, each frame resized, encoded and acted on by itself."""
    task, vae, rnn = get_task("carracing"), fixtures.vae("carracing"), fixtures.rnn("carracing")
    controller = fixtures.controllers("carracing", cell=False)
    game = gymnasium.make("CarRacing-v3")
    seen: dict[str, np.ndarray] = {"frame": game.reset(seed=number)[0]}
    state = rnn.initial_state(1)

    @torch.inference_mode()
    def piece() -> int:
        nonlocal state
        for _ in range(STEPS):
            image = torch.from_numpy(seen["frame"][:84]).permute(2, 0, 1)[None].float() / 255
            mu, logvar = vae.encode(interpolate(image, (64, 64), mode="bilinear"))
            latent = sample_latent(mu, logvar, torch.randn_like(mu))
            action = controller.act(torch.cat([latent, state.hidden], dim=1))
            state = rnn.step(latent, task.to_model(action), FIRST, state)
            seen["frame"], _, terminated, truncated, _ = game.step(task.to_env(action.numpy())[0])
            if terminated or truncated:
                seen["frame"], _ = game.reset()
        return STEPS

    return piece


def take_cover_dream(number: int) -> Piece:
    """One dream of M in TakeCover's sizes, sampled with torch's distributions."""
    rnn, temperature = fixtures.rnn("takecover"), 1.15
    controller = fixtures.controllers("takecover", cell=True)
    torch.manual_seed(number)
    latent, state = torch.randn(1, rnn.sizes.latent_size), rnn.initial_state(1)

    @torch.inference_mode()
    def piece() -> int:
        nonlocal latent, state
        for _ in range(STEPS):
            action = controller.act(torch.cat([latent, *state], dim=1))
            latent, state = _dreamt(latent, action, state)
        return STEPS

    def _dreamt(latent: Tensor, action: Tensor, state: State) -> tuple[Tensor, State]:
        state = rnn.step(latent, action, FIRST, state)
        mixture = rnn.predict(state.hidden).mixture
        chosen = torch.distributions.Categorical(logits=mixture.logits / temperature).sample()
        mu, log_sigma = (
            part.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
            for part in (mixture.mu, mixture.log_sigma)
        )
        return torch.normal(mu, log_sigma.exp() * temperature**0.5), state

    return piece


def doom(number: int) -> Piece:
    """TakeCover in ViZDoom with no policy."""
    task = get_task("takecover")
    game = gymnasium.make(task.env_id, **task.env_kwargs)
    game.reset(seed=number)

    def piece() -> int:
        for step in range(STEPS):
            *_, terminated, truncated, _ = game.step(step % 3)
            if terminated or truncated:
                game.reset()
        return STEPS

    return piece
