"""Stage fidelity: holds M's dream against the game and the data set, under simple policies."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pipelines.context import Context
from pipelines.stage import main
from world_models.collecting.policies import Policy, random_policy
from world_models.data.seeds import VALIDATE
from world_models.data.store import EpisodeStore
from world_models.evaluation.fidelity import Still, disagreement, dreamed, stand_still
from world_models.rnn.checkpoint import load_rnn, load_rnns
from world_models.rnn.inference import rnn_for_inference
from world_models.runtime.devices import best_device
from world_models.runtime.progress import Progress
from world_models.vae.checkpoint import load_vae
from world_models.vae.inference import vae_for_inference
from world_models.vae.starts import load_starts
from world_models.worlds.dream import DreamFactory, DreamWorld
from world_models.worlds.rollout import Played

TRUE_TO = 0.2
"""How far a dream's survival may be from the game's before the stage says so, as a share of it."""

OWN = "dream"
"""What the agent's own M's dream is called among the others."""


def run(context: Context) -> None:
    """Reports how long doing nothing lasts in the game and in each M's dream, what it earns, and
    the same of the collecting policy, where that is a random one."""
    collecting = context.config.collect
    seeds = VALIDATE[: context.config.fidelity.episodes]
    latents, dreams = open_dreams(context, len(seeds))
    metrics: dict[str, float] = {}
    with Progress("fidelity", 2 * len(dreams), "dreams") as progress:

        def in_dreams(policies: Callable[[], Sequence[Policy]]) -> dict[str, Played]:
            played = {}
            for name, dream in dreams.items():
                played[name] = dreamed(dream, policies(), seeds)
                progress.advance()
            return played

        if collecting.policy != "agent":
            of_run = context.task, collecting, context.params.seed
            collected = in_dreams(lambda: [random_policy(*of_run, seed) for seed in seeds])
            long = {name: long_ones(one, collecting.shortest) for name, one in collected.items()}
            metrics |= compare("collection", long, played_in(latents, context.params.round))
        still = in_dreams(lambda: [Still(context.task)] * len(seeds))
        metrics |= compare("still", still, stand_still(context.task, collecting.simulator, seeds))
    context.tracking.log_metrics(metrics)
    context.write_metrics("fidelity.json", metrics)


def open_dreams(context: Context, lanes: int) -> tuple[EpisodeStore, dict[str, DreamWorld]]:
    """Opens the data set through V, and the dreams, M's own and those of the M's that only dream:
    `dream`, `dreamer_1`, ... They draw pictures if the policy looks at them."""
    files, task, device = context.files, context.task, best_device()
    vae = vae_for_inference(load_vae(files.model("vae")), device)
    size = vae.sizes.latent_size
    rnn = rnn_for_inference(load_rnn(files.model("rnn"), size, task.action_size), device)
    others = load_rnns(files.model("dreamers"), size, task.action_size)
    dreamers = {OWN: rnn} | {
        f"dreamer_{number}": rnn_for_inference(other, device)
        for number, other in enumerate(others, 1)
    }
    sees = context.config.collect.policy == "random-network"
    dreams = DreamFactory(
        task,
        rnn,
        rnn,
        load_starts(files.model("starts"), size),
        context.config.dream,
        cell=False,
        vae=vae if sees else None,
    )
    return context.open_latents(size), {
        name: replace(dreams, dreamer=dreamer)(lanes) for name, dreamer in dreamers.items()
    }


def long_ones(played: Played, shortest: int) -> Played:
    """Returns the episodes over `shortest` steps, as the data set holds no others; all if none is
    that long."""
    kept = played.lengths > shortest
    return Played(*(figure[kept] for figure in played)) if kept.any() else played


def compare(policy: str, in_dreams: dict[str, Played], in_game: Played) -> dict[str, float]:
    """Returns a policy's figures in all worlds; says so where a dream is far off."""
    figures = {f"{policy}_real_{name}": value for name, value in figures_of(in_game).items()}
    for dream, played in in_dreams.items():
        off = disagreement(played.lengths, in_game.lengths)
        if off > TRUE_TO:
            said = f"fidelity: the {dream} is off by {off:.0%} for policy {policy}"
            print(said, file=sys.stderr)
        of_own = dream == OWN
        figures[f"{policy}_disagreement" if of_own else f"{policy}_{dream}_disagreement"] = off
        survival_and_return = figures_of(played).items()
        figures |= {f"{policy}_{dream}_{name}": value for name, value in survival_and_return}
    return figures


def figures_of(played: Played) -> dict[str, float]:
    """Returns means over episodes."""
    return {"survival": float(played.lengths.mean()), "return": float(played.returns.mean())}


def played_in(store: EpisodeStore, round_: str) -> Played:
    """Returns what the data set's episodes of a round earned, and how long they are."""
    at = [episode for episode in store.episodes() if episode.round == round_]
    returns = [store.read(episode).steps["rewards"].sum() for episode in at]
    return Played(np.asarray(returns), np.asarray([episode.length for episode in at]))


if __name__ == "__main__":
    main("fidelity", run, ["collect", "dream", "fidelity"])
