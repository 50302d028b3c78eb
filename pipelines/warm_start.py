"""Where a search for C begins, in a round that goes on from another."""

import torch

from pipelines.context import Context
from world_models.agent import load_agent
from world_models.controller.checkpoint import load_controllers
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.controller.refit import refit
from world_models.data.store import EpisodeStore
from world_models.rnn.model import MDNRNN
from world_models.runtime.errors import ConfigError
from world_models.vae.encoding import encode_episode
from world_models.worlds.recorded import recorded_features

REFITTED = 40
"""Episodes, the newest, that C is carried over on."""
FRAMES = 250
"""Encoded at a time."""


def warm_start(
    context: Context, rnn: MDNRNN, sizes: ControllerSizes, latents: EpisodeStore
) -> Controllers | None:
    """Returns the controller that evolution begins from, if there is to be one.

    Raises ConfigError where the one of the round before can't be that, CheckpointError where a file
    of that round is missing, damaged or of other sizes.
    """
    match context.config.controller.warm_start:
        case "before":
            return as_before(context, rnn, sizes)
        case "refit":
            return refitted(context, rnn, sizes, latents)
        case None:
            return None


def as_before(context: Context, rnn: MDNRNN, sizes: ControllerSizes) -> Controllers:
    """Reads the controller of the round before, which acts on this M's features as on its own.

    Raises ConfigError where it is of other sizes.
    """
    file = context.before.files.model("controller")
    found = load_controllers(file, rnn)
    # It goes on in this search's dreams, whatever its own were.
    found = Controllers(found.sizes.in_dreams_of(sizes), found.parameters)
    if len(found) != 1 or found.sizes != sizes:
        raise ConfigError(
            f"controller.warm_start: {file}: {len(found)} of {found.sizes}; "
            f"this search is for 1 of {sizes}"
        )
    return found


def refitted(
    context: Context, rnn: MDNRNN, sizes: ControllerSizes, latents: EpisodeStore
) -> Controllers:
    """Carries the controller of the round before over to this round's V and M.

    Both rounds' V and M look at the newest episodes, in which the agent of the round before played.
    Raises ConfigError where one of the two controllers has a hidden layer, or the new one no bias.
    """
    task = context.task
    agent = load_agent(context.before.files.agent, task, rnn.device)
    old = agent.controller.to(torch.device("cpu"))
    if old.sizes.hidden_units or sizes.hidden_units or not sizes.bias:
        raise ConfigError(
            "controller.warm_start: refit: only one linear C can be carried over, to one with bias"
        )
    frames = EpisodeStore(context.files.episodes)
    before, now = [], []
    for seen, at in list(zip(frames.episodes(), latents.episodes(), strict=True))[-REFITTED:]:
        episode = encode_episode(frames.read(seen), agent.vae, FRAMES)
        then = old.sizes.cell, old.sizes.sampled
        before.append(recorded_features(episode, task, agent.rnn, *then).cpu())
        now.append(recorded_features(latents.read(at), task, rnn, sizes.cell, sizes.sampled).cpu())
    return refit(old, torch.cat(before), torch.cat(now), sizes)
