"""The page of results: what the kept runs scored, how they learned, and what they took."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from world_models.reporting import paper
from world_models.reporting.charts import plain_style, save_figure
from world_models.reporting.kept import KeptRun, PPORun
from world_models.reporting.tables import interval, spread, table

PLANNED: Mapping[tuple[str, str], int] = {
    ("full", "carracing-2"): 2,
    ("full", "takecover"): 2,
    ("small", "carracing-2"): 3,
    ("small", "takecover"): 3,
}
"""Seeds that each scale and round is to be run with."""
SWEPT: Mapping[str, str] = {
    "temperature": "C evolved in dreams of several temperatures (the paper's table 2)",
    "inputs": "C that sees less (the paper's table 1)",
}
"""The paper's sweeps, and what they are."""
PLANNED_SWEEPS: Mapping[str, str] = {"temperature": "takecover", "inputs": "carracing"}
"""The task that each of them is to be run with."""
PLANNED_PPO = ("carracing", "takecover")
"""Tasks that PPO is to be trained on."""


def page(runs: Sequence[KeptRun], ppo: Sequence[PPORun]) -> str:
    """Returns the tables in Markdown."""
    parts = []
    if runs:
        parts += ["## Scores", scores(runs)]
        parts += ["![How the searches learned](learning.png)"]
        parts += ["A later round's steps are those of its own search."]
        parts += ["![Returns of the held-out episodes](returns.png)"]
        parts += ["## Over seeds", over_seeds(runs), "## Minutes by stage", times(runs)]
        parts += sweeps(runs)
    if ppo:
        parts += ["## What PPO reaches in the same time", of_ppo(ppo)]
    if lacking := missing(runs, ppo):
        parts += ["## Still to be run", table(["what", "how many"], lacking)]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def missing(runs: Sequence[KeptRun], ppo: Sequence[PPORun]) -> list[list[str]]:
    """Returns a row for all that is planned and not there yet, and how many of how many."""
    there = [(run.scale, run.round) for run in runs]
    rows = [
        [f"{round_} at `{scale}`, a seed each", f"{lacking} of {planned}"]
        for (scale, round_), planned in PLANNED.items()
        if (lacking := planned - there.count((scale, round_))) > 0
    ]
    rows += [
        [f"{SWEPT[name]}: {task}", "1 of 1"]
        for name, task in PLANNED_SWEEPS.items()
        if not any(run.task == task and name in run.sweeps for run in runs)
    ]
    trained = {run.task for run in ppo}
    return rows + [[f"PPO: {task}", "1 of 1"] for task in PLANNED_PPO if task not in trained]


def scores(runs: Sequence[KeptRun]) -> str:
    """Returns a row a run: its scores in both worlds, and the paper's beside them."""
    rows = []
    for run in runs:
        real, dream = run.scores["real"], run.scores["dream"]
        rows.append(
            [
                *(run.scale, run.round, str(run.seed)),
                interval(real),
                f"{np.median(run.returns):.0f}",
                str(len(run.returns)),
                spread(dream),
                f"{dream.mean / real.mean:.2f}" if real.mean else "",
                f"{run.minutes:.0f}",
                run.precision,
                papers_scores(run.task),
                run.revision[:9],
            ]
        )
    columns = ["scale", "round", "seed", "in the game", "median", "episodes", "in the dream"]
    columns += ["dream / game", "minutes", "precision", "the paper", "revision"]
    note = "Mean ± standard deviation [95% interval of the mean], in episodes that nothing was "
    note += "trained or chosen on. *In the dream*: in dreams of the agent's own M. *Precision*: "
    note += "what V and M were trained in. *Revision*: the commit that was checked out; the "
    note += "parameters are in the run's own folder under `results/`. A stage's minutes are those "
    note += "from its beginning to its end, pauses included."
    return f"{table(columns, rows)}\n{note}"


def over_seeds(runs: Sequence[KeptRun]) -> str:
    """Returns a row for each scale and round: the seeds' scores, their mean, and the worst."""
    rows = []
    for (scale, round_), some in groupby(runs, key=lambda run: (run.scale, run.round)):
        means = [run.scores["real"].mean for run in some]
        listed = ", ".join(f"{mean:.0f}" for mean in means)
        rows.append([scale, round_, listed, f"{np.mean(means):.0f}", f"{min(means):.0f}"])
    return table(["scale", "round", "a seed each", "their mean", "the worst"], rows)


def times(runs: Sequence[KeptRun]) -> str:
    """Returns a row a run: the minutes that each kind of stage took, of all its rounds together."""
    kinds = list(dict.fromkeys(name.partition("@")[0] for run in runs for name in run.seconds))
    rows = []
    for run in runs:
        taken = dict.fromkeys(kinds, 0.0)
        for name, seconds in run.seconds.items():
            taken[name.partition("@")[0]] += seconds
        cells = [f"{taken[kind] / 60:.1f}" for kind in kinds]
        total = f"{run.minutes:.0f}"
        rows.append([run.scale, run.round, str(run.seed), *cells, total, run.machine])
    return table(["scale", "round", "seed", *kinds, "all", "on"], rows)


def sweeps(runs: Sequence[KeptRun]) -> list[str]:
    """Returns the tables of the paper's sweeps, each under a heading of its own."""
    parts = []
    for name, words in SWEPT.items():
        for run in runs:
            if name in run.sweeps:
                title = f"## {words}: {run.task}, {run.scale}, seed {run.seed}"
                parts += [title, run.sweeps[name]]
    return parts


def of_ppo(runs: Sequence[PPORun]) -> str:
    """Returns a row for each task that Stable-Baselines3's PPO was trained on, from pixels."""
    rows = [
        [
            run.task,
            interval(run.score),
            str(run.episodes),
            f"{run.minutes:.0f}",
            f"{run.steps / 1e6:.1f}",
        ]
        for run in runs
    ]
    columns = ["task", "in the game", "episodes", "minutes", "million steps"]
    note = "Stable-Baselines3's PPO from pixels, with the settings of its zoo, on the same cores. "
    note += "It has one seed a task, and is scored on the same held-out episodes."
    return f"{table(columns, rows)}\n{note}"


def papers_scores(task: str) -> str:
    """Returns what the paper reports of a task, and what its agent has in today's game."""
    words = []
    if task in paper.SCORES:
        words.append("{:.0f} ± {:.0f}".format(*paper.SCORES[task]))
    if task in paper.REPLAYED:
        words.append("{:.0f} by its agent today ({:,} episodes)".format(*paper.REPLAYED[task]))
    return "; ".join(words)


@plain_style
def save_learning(path: str | Path, runs: Sequence[KeptRun]) -> None:
    """Writes a PNG: the search's mean on validation episodes over the steps that it had played."""
    tasks = _by_task(runs)
    figure, axes = _panels(len(tasks))
    for panel, (task, some) in zip(axes, tasks.items(), strict=True):
        for number, run in enumerate(some):
            panel.plot(run.steps / 1e6, run.validated, f"C{number}o-", label=_name(run), ms=3)
        learned = paper.LEARNED.get(task, {})
        if learned:
            million = [number * paper.STEPS_A_GENERATION / 1e6 for number in learned]
            panel.plot(million, list(learned.values()), "k^--", label="the authors' log", mfc="w")
        for score, whose, style in landmarks(task):
            panel.axhline(score, color="grey", ls=style, lw=1, label=whose)
        panel.set(xscale="log", xlabel="million steps of evolution", ylabel="validation return")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter("")
        panel.set_title(task)
        panel.legend(fontsize="small")
    save_figure(path, figure)


def landmarks(task: str) -> list[tuple[float, str, str]]:
    """Returns scores to look out for, whose they are, and how their lines are drawn."""
    found = []
    if task in paper.SCORES:
        found.append((paper.SCORES[task][0], "the paper", ":"))
    if task in paper.REPLAYED:
        found.append((float(paper.REPLAYED[task][0]), "the authors' agent today", "-."))
    return found


@plain_style
def save_returns(path: str | Path, runs: Sequence[KeptRun]) -> None:
    """Writes a PNG: histograms of the held-out episodes' returns."""
    tasks = _by_task(runs)
    figure, axes = _panels(len(tasks))
    for panel, (task, some) in zip(axes, tasks.items(), strict=True):
        bins = np.histogram_bin_edges(np.concatenate([run.returns for run in some]), 25).tolist()
        for number, run in enumerate(some):
            panel.hist(
                run.returns, bins, density=True, histtype="step", color=f"C{number}",
                label=_name(run),
            )  # fmt: skip
            panel.axvline(run.returns.mean(), color=f"C{number}", ls=":")
        panel.set(xlabel="return in the game", ylabel="share of episodes", title=task, yticks=[])
        panel.legend(fontsize="small", loc="upper left")
    save_figure(path, figure)


def _by_task(runs: Sequence[KeptRun]) -> dict[str, list[KeptRun]]:
    tasks = dict.fromkeys(run.task for run in runs)
    return {task: [run for run in runs if run.task == task] for task in tasks}


def _name(run: KeptRun) -> str:
    return f"{run.round}, {run.scale}, seed {run.seed}"


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(6 * count, 4), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])
