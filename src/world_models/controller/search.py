"""The search for C: generations of candidates scored in a world, the best of them kept."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from world_models.controller.centring import decentre
from world_models.controller.config import ControllerConfig
from world_models.controller.evaluator import Evaluator
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.controller.records import Population, from_record, to_record
from world_models.controller.strategy import CMAES
from world_models.data.seeds import EVOLVE, VALIDATE
from world_models.runtime.journal import Journal
from world_models.worlds.rollout import Played


class Validation(NamedTuple):
    """The search's mean on the validation seeds, in both worlds: returns (1, episodes) each."""

    real: Played
    dream: Played


@dataclass(frozen=True)
class Generation:
    """How one generation did."""

    number: int
    """From 1; 0 is what a search begins from, if that has been tried."""
    returns: np.ndarray
    """Mean return of each candidate in the world of the search (population,); (1,) for generation
    0."""
    sigma: float
    """CMA-ES's step size after it."""
    steps: int
    """Steps played in the generation."""
    mean: Controllers
    """The search's mean after it, as a population of one."""
    validation: Validation | None
    """How the mean did on the validation seeds, every few generations."""
    at: float = 0.0
    """When it was played, in seconds since 1970."""

    @property
    def merit(self) -> float:
        """The real return of the mean, which a generation is kept for; -inf where it has none."""
        return -np.inf if self.validation is None else float(self.validation.real.returns.mean())


def fooled(before: Validation, now: Validation, among: int) -> bool:
    """Returns whether the dream's mean rose while the real one fell, beyond 1 in 20's chance.

    Both are of the same seeds. The best of many owes some of it to luck: where `before` is the
    best among so many, each of them has its share of that 1 in 20 (Bonferroni).
    """
    change = (now.real.returns - before.real.returns).flatten()
    error = change.std(ddof=1) / np.sqrt(len(change)) if len(change) > 1 else np.inf
    risen = now.dream.returns.mean() > before.dream.returns.mean()
    return bool(risen and change.mean() < NormalDist().inv_cdf(0.05 / among) * error)


def evolve(
    evaluators: Callable[[int], Evaluator],
    validate: Callable[[Controllers], Validation] | None,
    sizes: ControllerSizes,
    config: ControllerConfig,
    seed: int,
    centre: Tensor | None = None,
    start: Controllers | None = None,
    journal: Journal | None = None,
) -> Iterator[Generation]:
    """Evolves C, a generation at a time.

    Each generation plays on seeds of its own, the same for all its candidates. The mean is tried
    by `validate`, if there is such a thing, every few generations and after the last.

    Args:
        evaluators: what scores a generation; the first one is 1.
        centre: the search goes on in coordinates where features are zero here (F,).
        start: one controller, which the search begins from; otherwise it begins from zeros.
        journal: of this very search; generations that it holds are not played again, and yet all
            comes out the same. Each new one is added to it.
    """
    past = iter(list(journal.records) if journal else [])
    strategy = CMAES(
        _first_mean(sizes, centre, start),
        config.population,
        config.sigma,
        config.diagonal,
        seed,
        config.sigma_decay,
    )
    for number in range(1, config.generations + 1):
        record = next(past, None)
        candidates = strategy.ask()
        if record is None:
            seeds = generation_seeds(config.episodes_at(number), seed, number)
            controllers = _controllers(sizes, candidates, centre)
            played = evaluators(number).evaluate(controllers, seeds)
            population = Population(played.returns.mean(axis=1), int(played.lengths.sum()))
        else:
            population, validated, at = from_record(record)
        strategy.tell(candidates, population.returns)
        mean = _controllers(sizes, strategy.mean[None], centre)
        if record is None:
            due = number % config.validate_every == 0 or number == config.generations
            validated, at = [*validate(mean)] if validate and due else None, time.time()
            if journal is not None:
                journal.append(to_record(population, validated, at))
        yield Generation(
            number,
            population.returns,
            strategy.sigma,
            population.steps,
            mean,
            Validation(*validated) if validated else None,
            at,
        )


def validate_start(
    start: Controllers,
    validate: Callable[[Controllers], Validation],
    config: ControllerConfig,
    journal: Journal,
) -> Generation:
    """Returns generation 0: what a search begins from, which it need not make any better.

    `journal` is of this alone, as for `evolve`.
    """
    if journal.records:
        population, validated, at = from_record(journal.records[0])
    else:
        validated, at = [*validate(start)], time.time()
        population = Population(validated[0 if config.is_real(1) else 1].returns.mean(axis=1), 0)
        journal.append(to_record(population, validated, at))
    assert validated is not None
    return Generation(0, population.returns, config.sigma, 0, start, Validation(*validated), at)


def _first_mean(
    sizes: ControllerSizes, centre: Tensor | None, start: Controllers | None
) -> np.ndarray:
    if start is None:
        return np.zeros(sizes.parameter_count)
    parameters = start.parameters.double()
    if centre is not None:
        parameters = decentre(sizes, parameters, -centre)
    return parameters[0].numpy()


def _controllers(
    sizes: ControllerSizes, parameters: np.ndarray, centre: Tensor | None
) -> Controllers:
    found = torch.from_numpy(parameters)
    if centre is not None:
        found = decentre(sizes, found, centre)
    return Controllers(sizes, found.float())


def generation_seeds(episodes: int, seed: int, number: int) -> list[int]:
    """Returns the seeds of one generation, the same at every run with the same seed."""
    random = np.random.default_rng([seed, number])
    return random.integers(EVOLVE.start, EVOLVE.stop, episodes).tolist()


def validation_seeds(episodes: int, round_: int = 1) -> range:
    """Returns the seeds that the kept controller is selected on in a round; the first is 1.

    Each has others: what was lucky on those of one round is judged anew in the next.
    """
    return VALIDATE[(round_ - 1) * episodes : round_ * episodes]
