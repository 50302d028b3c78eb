"""What C is, and how it is evolved."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from world_models.runtime.config import Config, Count, Decay, Natural, Positive, WeightsPrecision
from world_models.tasks.base import Simulator

DreamedBy = Literal["own", "others"]


class ControllerConfig(Config):
    """C and its evolution."""

    train_in: Literal["real", "dream", "dream-then-real"] = "real"
    """The world that C is evolved in: real, dream, or dream-then-real."""
    dreamed_by: DreamedBy = "own"
    """Whose dreams C is evolved and validated in. own: the agent's M dreams, as in the paper, and C
    reads from its state what comes next, as it can't in the game; others: the further M's of
    rnn.dreamers, with a state of their own, each of which has a share of the episodes. The stage
    evaluate keeps to the dreams of the agent's own M; fidelity measures all."""
    real_generations: Natural = 0
    """train_in dream-then-real: how many generations, the last ones, play in the real world."""
    simulator: Simulator = "gymnasium"
    """The real world's game in evolution and validation; final scores are always gymnasium's."""
    inputs: Literal["full", "latent"] = "full"
    """What C acts on. full: z and M's state; latent: z alone."""
    hidden_units: Count | None = None
    """Tanh units between inputs and action; none: C is linear."""
    cell: bool = False
    """C sees M's cell state too."""
    bias: bool = True
    """C has a bias."""
    sampled: bool = True
    """In the real world C sees a z drawn from V's posterior; false: its mean."""
    centred: bool = False
    """Evolution sees the features less their mean over the data set. C needs a bias for it, which
    takes the mean up: the agent is the same linear map."""
    population: Annotated[int, Field(ge=2)] = 64
    """Candidates in a generation."""
    episodes: Count = 16
    """Episodes of a candidate, with seeds that all candidates share."""
    more_episodes: Natural = 0
    """How many more episodes a candidate plays in the last generation; in between the number grows
    evenly."""
    batches: Count = 64
    """Into how many batches the episodes of a generation or a validation are cut, at least. A
    worker plays one at a time, all its episodes side by side: with more workers than batches some
    have none. The default is the paper's number of cores. Networks round by a batch's size, so
    another number gives other bits; the number of workers doesn't."""
    generations: Count = 1800
    """Generations of CMA-ES."""
    sigma: Positive = 0.1
    """CMA-ES's first step size."""
    sigma_decay: Decay = 1.0
    """Factor on the step size after each generation, beside CMA-ES's own rule."""
    diagonal: bool | Annotated[int, Field(ge=2)] = False
    """CMA-ES learns variances and no covariances; a number: in so many first generations."""
    warm_start: Literal["before", "refit"] | None = None
    """Where evolution begins. none: at zeros; before: at C of the round before; refit: at a C that
    is fitted to do on this round's features what that one does on its own, for another V or M."""
    weighed: bool = False
    """In evolution's dreams no episode ends by chance, whatever dream.ends says: each reward is
    multiplied by the chance of having lasted until it, and the episode ends where that falls under
    0.02. A return has the mean that dream.ends: drawn gives it, and less variance: see "TakeCover,
    10,000 random episodes, and dreams that are weighed" in docs/notebook.md."""
    patience: Natural = 0
    """Steps without a reward over 0 after which evolution cuts a real episode off; 0: never."""
    curiosity: float = 0.0
    """Weight of M's NLL, in nats a number of z, in the reward of the real world while C is evolved
    there; under 0 C avoids what M predicts badly."""
    precision: WeightsPrecision = "32-true"
    """Precision of V and M in C's worlds: 32-true, bf16-true or auto."""
    validate_every: Count = 25
    """Generations between two validations of the search's mean in the real world."""
    validation_episodes: Count = 1024
    """Episodes of a validation. The mean that does best is kept: selection, not training."""

    @model_validator(mode="after")
    def _in_both_worlds(self) -> "ControllerConfig":
        if self.train_in == "dream-then-real" and not 0 < self.real_generations < self.generations:
            raise ValueError("train_in: dream-then-real needs real_generations: some, not all")
        return self

    @model_validator(mode="after")
    def _centred_by_a_bias(self) -> "ControllerConfig":
        if self.centred and not self.bias:
            raise ValueError("centred needs bias: true")
        return self

    def is_real(self, generation: int) -> bool:
        """Returns whether a generation plays in the real world; the first one is 1."""
        if self.train_in == "dream-then-real":
            return generation > self.generations - self.real_generations
        return self.train_in == "real"

    def episodes_at(self, generation: int) -> int:
        """Returns how many episodes a candidate plays in a generation; the first one is 1."""
        passed = (generation - 1) / max(self.generations - 1, 1)
        return self.episodes + round(self.more_episodes * passed)
