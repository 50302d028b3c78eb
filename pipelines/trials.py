"""Which temperature a round's dream has: the task's, or the one that the game says is best."""

from contextlib import closing
from typing import NamedTuple

from pipelines.ground import Ground
from pipelines.stage import Stage
from world_models.config import DreamConfig
from world_models.evolution.search import Generation, evolve
from world_models.journal import Journal
from world_models.progress import Progress
from world_models.seeds import VALIDATE


class Trial(NamedTuple):
    """A short search in a dream, and how its C then did."""

    temperature: float
    dream_mean: float
    real_mean: float
    dream_steps: int
    """Of evolution."""
    real_steps: int
    """Of the episodes that it was scored on: what choosing costs."""


def chosen_temperature(stage: Stage, on: Ground) -> tuple[float, dict[str, float]]:
    """The task's temperature; or else, of those to choose from, the one whose C is best for real.

    And the figures of the trials, for the report.
    """
    config = stage.section(DreamConfig)
    if not config.temperatures:
        return config.temperature, {}
    journal = Journal(stage.state / "temperatures.jsonl")
    trials = [Trial(*record) for record in journal.records]
    with Progress("controller", len(config.temperatures), "temperatures", len(trials)) as progress:
        for temperature in config.temperatures[len(trials) :]:
            trials.append(tried(stage, on, config, temperature))
            journal.append(list(trials[-1]))
            progress.advance(figures={"real": trials[-1].real_mean})
    best = max(trials, key=lambda trial: trial.real_mean)
    return best.temperature, {
        f"trial_{trial.temperature:g}_{name}": value
        for trial in trials
        for name, value in trial._asdict().items()
        if name != "temperature"
    }


def tried(stage: Stage, on: Ground, dream: DreamConfig, temperature: float) -> Trial:
    """A search of a few generations at this temperature, and its mean in the game."""
    changes = {
        "train_in": "dream",
        "generations": dream.trial_generations,
        "validate_every": dream.trial_generations,
    }
    config = on.config.model_copy(update=changes)
    seeds = VALIDATE[-dream.trial_episodes :]  # others than those that C is kept for
    with closing(on.crew()) as crew:
        arenas = on.arenas(crew, config, temperature)
        validate = on.judge(crew, seeds, temperature)
        search = list(
            evolve(arenas, validate, on.sizes, config, stage.params.seed, on.centre, on.start)
        )
    return trial(temperature, search)


def trial(temperature: float, search: list[Generation]) -> Trial:
    """What came of a search whose last mean has been judged."""
    judged = search[-1].validation
    assert judged is not None
    return Trial(
        temperature,
        float(judged.dream.returns.mean()),
        float(judged.real.returns.mean()),
        sum(generation.steps for generation in search),
        int(judged.real.lengths.sum()),
    )
