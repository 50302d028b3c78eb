"""Pictures for the docs, from what the pipeline made here.

`python docs/figures.py` draws the dream of TakeCover, or of `--round`; with `--only prediction ends
--suffix=-full` some of the pictures, under other names. `--temperatures takecover` draws dreams of
the agent in the package instead. `--film pendulum-3` draws stills of
`reports/pendulum-3/rounds.mp4`, and takes over `rounds.png` from beside it. `--compare` draws
`docs/rounds.csv`.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import imageio.v2 as imageio
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from world_models.agent import Agent, load_agent
from world_models.controller.evaluator import evaluate
from world_models.data.datasets import split_episodes
from world_models.data.seeds import TEST
from world_models.data.store import EpisodeAt, EpisodeStore
from world_models.evaluation.fidelity import Still
from world_models.evaluation.statistics import bootstrap_interval
from world_models.layout import RoundFiles
from world_models.params import Params
from world_models.rnn.mixture import Mixture, negative_log_likelihood
from world_models.runtime.files import atomic_write
from world_models.tasks import get_task
from world_models.tasks.base import Task
from world_models.vae.model import sample_latent, to_frames
from world_models.worlds.base import World

PICTURES = Path(__file__).parent / "pictures"
ROUNDS = Path(__file__).parent / "rounds.csv"
TEMPERATURES = (0.1, 0.5, 1.0, 1.15, 1.3)
AT = (1, 75, 90, 105, 120, 135, 150)
"""Steps of a dream that are pictured."""
COLOURS = 128
FILMED = 10
"""Stills of a film."""
DREAMS = 100
"""Episodes that a mean is of."""
ENDINGS = 5
"""Episodes whose end is pictured."""
BEFORE_END = (24, 14, 7, 5, 3, 2, 1, 0)
"""Steps before the last that are pictured of each."""
APART = 4
"""Steps between two that are pictured of the data set, up to an episode's last."""


class Shown(NamedTuple):
    """What there is to draw."""

    task: Task
    agent: Agent
    episodes: EpisodeStore
    latents: EpisodeStore
    files: RoundFiles


def main() -> None:
    """Draws the figures asked for."""
    parser = argparse.ArgumentParser(prog="python docs/figures.py", description=__doc__)
    parser.add_argument("--round", default="takecover")
    parser.add_argument("--only", nargs="+", choices=list(FIGURES), default=OF_ANY_ROUND)
    parser.add_argument("--suffix", default="", help="of the names of pictures")
    parser.add_argument("--temperatures", metavar="TASK")
    parser.add_argument("--film", metavar="ROUND")
    parser.add_argument("--compare", action="store_true")
    arguments = parser.parse_args()
    if arguments.compare:
        save("rounds", with_and_without())
        return
    if arguments.temperatures:
        agent = Agent.from_pretrained(arguments.temperatures, device="cpu")
        save("dream-temperature", temperatures(agent))
        return
    if arguments.film:
        files = RoundFiles(arguments.film)
        save(f"film-{arguments.film}", stills(files))
        keep(f"rounds-{arguments.film}", Image.open(files.report("rounds.png")))
        return
    shown = opened(arguments.round)
    for name in arguments.only:
        save(f"dream-{name}{arguments.suffix}", FIGURES[name](shown))


def save(name: str, figure: Figure) -> None:
    """Writes a figure."""
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=100)
    keep(name, Image.open(drawn))


def keep(name: str, picture: Image.Image) -> None:
    """Writes a PNG of few colours: pictures are kept in git."""
    with atomic_write(PICTURES / f"{name}.png") as aside:
        picture.convert("RGB").quantize(COLOURS).save(aside, format="png", optimize=True)


def opened(round_: str) -> Shown:
    """A round's agent and data set."""
    params, files = Params(Path("params.yaml"), round_), RoundFiles(round_)
    task = get_task(params.task)
    return Shown(
        task,
        load_agent(files.agent, task, torch.device("cpu")),
        EpisodeStore(files.episodes),
        EpisodeStore(files.latents),
        files,
    )


class Foreseen(NamedTuple):
    """A held-out episode of T steps, as M goes through it."""

    frames: np.ndarray
    """(T + 1, 64, 64, 3)"""
    latent: Tensor
    """z_0 to z_T (T + 1, z)"""
    mixture: Mixture
    """What M holds of z_1 to z_T, from h_1 to h_T: (T, K, z)."""
    end: Tensor
    """Its done head's output for an end with each step (T,), as trained: ends weigh more there."""


def longest(shown: Shown) -> EpisodeAt:
    """The longest held-out episode."""
    return max(split_episodes(shown.latents)[1], key=lambda episode: episode.length)


@torch.inference_mode()
def foreseen(shown: Shown, at: EpisodeAt) -> Foreseen:
    """M's way through a held-out episode."""
    same = next(one for one in shown.episodes.episodes() if one.seed == at.seed)
    episode, rnn = shown.latents.read(at), shown.agent.rnn
    mu, logvar = (torch.from_numpy(episode.frames[name]).float() for name in ("mu", "logvar"))
    noise = torch.randn(mu.shape, generator=torch.Generator().manual_seed(0))
    latent = sample_latent(mu, logvar, noise)  # as M is trained
    action = shown.task.to_model(torch.from_numpy(episode.steps["actions"]))
    begins = torch.arange(at.length)[:, None] == 0
    hidden, _ = rnn.advance(latent[:-1, None], action[:, None], begins, rnn.initial_state(1))
    frames = shown.episodes.read(same).frames["frames"]
    said = rnn.predict(hidden[:, 0])
    assert said.done_logit is not None
    return Foreseen(frames, latent, said.mixture, said.done_logit.sigmoid())


@torch.inference_mode()
def prediction(shown: Shown) -> Figure:
    """Frames beside V's picture of them, and M's of the next beside what came."""
    seen = foreseen(shown, longest(shown))
    weights = seen.mixture.logits.softmax(-2)
    expected = (weights * seen.mixture.mu).sum(-2)
    steps = [len(expected) - 1 - APART * number for number in range(5, -1, -1)]
    following = [step + 1 for step in steps]
    rows = {
        "frame at t": seen.frames[steps],
        "V: $z_t$": drawn(shown, seen.latent[steps]),
        "M: what $h_{t+1}$ expects\nof $z_{t+1}$": drawn(shown, expected[steps]),
        "V: $z_{t+1}$ as it came": drawn(shown, seen.latent[following]),
        "frame at t + 1": seen.frames[following],
    }
    return strips(rows, [f"t = {step}" for step in steps])


def drawn(shown: Shown, latent: Tensor) -> np.ndarray:
    """V's pictures of latents (N, z): (N, 64, 64, 3)."""
    frames: np.ndarray = to_frames(shown.agent.vae.decode(latent)).numpy(force=True)
    return frames


def strips(rows: dict[str, Any], columns: Sequence[str]) -> Figure:
    """Rows of pictures; None leaves a place empty."""
    figure = Figure(figsize=(1.3 * len(columns) + 1.6, 1.35 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for row, (name, pictures) in zip(axes, rows.items(), strict=True):
        for place, picture in zip(row, pictures, strict=True):
            place.set(xticks=[], yticks=[])
            if picture is not None:
                place.imshow(picture)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    for place, name in zip(axes[0], columns, strict=True):
        place.set_title(name, fontsize=9)
    return figure


@torch.inference_mode()
def likelihood(shown: Shown) -> Figure:
    """Densities of a well and of a badly foreseen number of z, and the NLL of all of them."""
    seen = foreseen(shown, longest(shown))
    nll = negative_log_likelihood(seen.mixture, seen.latent[1:])
    mean = nll.mean(0).numpy()
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    *two, bars = figure.subplots(1, 3)
    for axes, size in zip(two, (mean.argmin(), mean.argmax()), strict=True):
        step = int((nll[:, size] - mean[size]).abs().argmin())  # a usual one
        density(axes, seen, step, int(size))
    bars.bar(range(len(mean)), np.sort(mean), width=1)
    bars.axhline(0, color="black", linewidth=0.8)
    bars.set(title="mean −log p of each", xlabel="numbers of z, sorted", ylabel="nats")
    return figure


def density(axes: Axes, seen: Foreseen, step: int, size: int) -> None:
    """The density of one number of z at one step, and the value that came."""
    mixture = Mixture(*(part[step, :, size : size + 1] for part in seen.mixture))
    value = seen.latent[step + 1, size : size + 1]
    grid = around(mixture, value)
    wide = Mixture(*(part.expand(-1, len(grid)) for part in mixture))
    nll = negative_log_likelihood(mixture, value).item()
    axes.plot(grid, (-negative_log_likelihood(wide, grid)).exp())
    axes.axhline(1, color="grey", linewidth=0.8, linestyle=":")
    axes.axvline(value.item(), color="C1", linestyle="--")
    axes.set(title=f"number {size}: −log p = {nll:.2f}", xlabel="z at t + 1", ylabel="density p")
    axes.set_ylim(bottom=0)


def around(mixture: Mixture, value: Tensor) -> Tensor:
    """Where the Gaussians that count are, and the value that came, (N,)."""
    counts = mixture.logits.softmax(0) > 0.01
    mu, reach = mixture.mu[counts], 4 * mixture.log_sigma.exp()[counts]
    low = torch.minimum((mu - reach).min(), value.min() - 0.1)
    high = torch.maximum((mu + reach).max(), value.max() + 0.1)
    return torch.linspace(low.item(), high.item(), 4000)


def temperatures(agent: Agent) -> Figure:
    """What comes at who stands still, at several temperatures, and how long C lives there.

    The rows have one start and the same random numbers.
    """
    rows = {}
    for temperature in TEMPERATURES:
        lived = survived(agent, temperature)
        low, high = bootstrap_interval(lived)
        name = f"τ = {temperature}\nC lives {lived.mean():,.0f}\n[{low:,.0f}, {high:,.0f}]"
        with closing(agent.dream(1, temperature)) as dream:
            rows[name] = watched(dream, TEST[0], AT)
    return strips(rows, [f"step {step}" for step in AT])


def survived(agent: Agent, temperature: float) -> np.ndarray:
    """Steps that C lives in dreams."""
    with closing(agent.dream(DREAMS, temperature)) as dream:
        lengths: np.ndarray = evaluate(dream, agent.controller, TEST[:DREAMS]).lengths[0]
    return lengths


@torch.inference_mode()
def watched(world: World, seed: int, at: Sequence[int]) -> list[np.ndarray | None]:
    """What a world of one lane shows some steps on, if nobody moves; None once it is over."""
    world.begin([seed])
    still = torch.from_numpy(Still(world.task).action)[None]
    shots: list[np.ndarray | None] = []
    for step in range(1, at[-1] + 1):
        world.advance(still)
        if step in at:
            shots.append(None if world.finished.all() else (world.render() or (None,))[0])
    return shots


def cheating(shown: Shown) -> Figure:
    """What evolution's mean reaches in the dream and in the game, by generation."""
    with shown.files.report("generations.csv").open() as file:
        tried = [row for row in csv.DictReader(file) if row["real_mean"]]
    kept = json.loads(shown.files.report("controller.json").read_text())["kept_generation"]
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    numbers = [int(row["generation"]) for row in tried]
    for world, words in (("dream", "in its dream"), ("real", "in the game")):
        axes.plot(numbers, [float(row[f"{world}_mean"]) for row in tried], "o-", label=words)
    axes.axvline(kept, color="grey", linestyle=":", label="kept")
    axes.set(xlabel="generation", ylabel="mean return on validation seeds")
    axes.legend()
    return figure


def ends(shown: Shown) -> Figure:
    """The last frames of held-out episodes of agents that the game ended, with M's word below."""
    found = [
        at
        for at in split_episodes(shown.latents)[1]
        if at.policy == "agent" and at.terminated and at.length > BEFORE_END[0]
    ]
    if len(found) < ENDINGS:
        raise SystemExit(f"ends: {len(found)} held-out episodes of an agent; {ENDINGS} are drawn")
    rows, said = {}, list[float]()
    for place in range(ENDINGS):
        at = found[place * len(found) // ENDINGS]
        seen, steps = foreseen(shown, at), [at.length - 1 - before for before in BEFORE_END]
        rows[f"step {at.length},\nseed {at.seed}"] = seen.frames[steps]
        said += seen.end[steps].tolist()
    figure = strips(rows, [f"{before} before" if before else "the last" for before in BEFORE_END])
    for axes, end in zip(figure.axes, said, strict=True):
        axes.set_xlabel(f"{end:.2f}", fontsize=9)
    return figure


def stills(files: RoundFiles) -> Figure:
    """The first round's agent over this one's, in the same episode."""
    number = len(Params(Path("params.yaml"), files.name).chain)
    pictures = imageio.mimread(files.report("rounds.mp4"), memtest=False)
    every = len(pictures) // FILMED
    chosen = pictures[::every][:FILMED]
    height = chosen[0].shape[0]
    rows = {
        "round 1": [picture[:, :height] for picture in chosen],
        f"round {number}": [picture[:, -height:] for picture in chosen],
    }
    return strips(rows, [f"step {every * place}" for place in range(FILMED)])


def with_and_without() -> Figure:
    """Scores with a second round and without, against minutes of evolution and of that round."""
    with ROUNDS.open() as file:
        ways = list(csv.DictReader(file))
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    tasks = sorted({way["task"] for way in ways})
    places = dict(zip(tasks, figure.subplots(1, len(tasks)), strict=True))
    for way in ways:
        minutes, mean, low, high = (float(way[n]) for n in ("minutes", "mean", "low", "high"))
        spread = [[mean - low], [high - mean]]
        places[way["task"]].errorbar(minutes, mean, spread, fmt="o", capsize=4, label=way["way"])
    for task, axes in places.items():
        axes.set(title=task, xlabel="minutes", ylabel="return in the game, 100 episodes")
        axes.legend()
    return figure


FIGURES = {
    "prediction": prediction,
    "nll": likelihood,
    "cheating": cheating,
    "ends": ends,
}
"""What draws each picture of a round, by its name."""
OF_ANY_ROUND = [name for name in FIGURES if name != "ends"]
"""A first round's data set holds no agent's episodes."""


if __name__ == "__main__":
    main()
