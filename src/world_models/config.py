"""params.yaml as frozen models, one a stage. An unknown key or a value out of range is an error."""

import re
from collections.abc import Iterable, Mapping
from copy import copy
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from world_models.errors import ConfigError
from world_models.rounds import number, task

Count = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Precision = Literal["auto", "32-true", "bf16-mixed"]
WeightsPrecision = Literal["auto", "32-true", "bf16-true"]
Seed = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
Simulator = Literal["gymnasium", "envpool"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class CollectConfig(_Section):
    """The data set. params.yaml says what each value means, with its unit."""

    policy: Literal["brownian", "held", "random-network", "agent"]
    simulator: Simulator
    episodes: Annotated[int, Field(ge=2, le=1_000_000)]
    shard_episodes: Count
    shortest: Natural
    longest_hold: list[Count] = Field(min_length=2, max_length=2)
    as_is: Share
    spread: Annotated[float, Field(ge=0)]
    random_share: Share
    workers: Count

    @field_validator("longest_hold")
    @classmethod
    def _ordered(cls, bounds: list[int]) -> list[int]:
        if bounds[0] > bounds[1]:
            raise ValueError("its first number is over its second")
        return bounds


class VAEConfig(_Section):
    """V and its training."""

    warm_start: bool
    latent_size: Count
    batches: Natural
    batch_size: Count
    learning_rate: Positive
    learning_rate_decay: Annotated[float, Field(gt=0, le=1)]
    free_nats: Annotated[float, Field(ge=0)]
    precision: Precision
    validate_every: Count

    @model_validator(mode="after")
    def _made_somehow(self) -> "VAEConfig":
        if not self.batches and not self.warm_start:
            raise ValueError("batches: 0 needs warm_start: true")
        return self


class EncodeConfig(_Section):
    """Every frame through V's encoder."""

    batch_size: Count
    precision: WeightsPrecision


class RNNConfig(_Section):
    """M and its training."""

    warm_start: bool
    hidden_size: Count
    mixtures: Count
    restart_input: bool
    reward_head: bool
    done_head: bool
    done_weight: Positive
    batches: Count
    lanes: Count
    steps: Count
    newest_share: Share
    newest_episodes: Count
    learning_rate: Positive
    learning_rate_decay: Annotated[float, Field(gt=0, le=1)]
    learning_rate_floor: Annotated[float, Field(ge=0)]
    gradient_clip: Positive
    precision: Precision
    validate_every: Count


class DreamConfig(_Section):
    """How M dreams."""

    temperature: Positive
    temperatures: list[Positive]
    trial_generations: Count
    trial_episodes: Annotated[int, Field(ge=2)]
    ends: Literal["likely", "drawn"]
    starts: Count
    honesty_episodes: Count


class ControllerConfig(_Section):
    """C and its evolution."""

    train_in: Literal["real", "dream", "dream-then-real"]
    real_generations: Natural
    simulator: Simulator
    inputs: Literal["full", "latent"]
    hidden_units: Count | None
    cell: bool
    bias: bool
    sampled: bool
    centred: bool
    population: Annotated[int, Field(ge=2)]
    episodes: Count
    more_episodes: Natural
    racing: Natural
    generations: Count
    sigma: Positive
    sigma_decay: Annotated[float, Field(gt=0, le=1)]
    diagonal: bool | Annotated[int, Field(ge=2)]
    warm_start: str | None
    patience: Natural
    curiosity: float
    precision: WeightsPrecision
    validate_every: Count
    validation_episodes: Count

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

    @model_validator(mode="after")
    def _raced_before_the_end(self) -> "ControllerConfig":
        most = self.episodes_at(self.generations)
        if self.racing >= most:
            raise ValueError(f"racing: {self.racing} leaves nothing of {most} episodes to race for")
        return self

    def is_real(self, generation: int) -> bool:
        """Whether a generation is played in the real world; the first one is 1."""
        if self.train_in == "dream-then-real":
            return generation > self.generations - self.real_generations
        return self.train_in == "real"

    def episodes_at(self, generation: int) -> int:
        """Episodes that a candidate plays in a generation; the first one is 1."""
        passed = (generation - 1) / max(self.generations - 1, 1)
        return self.episodes + round(self.more_episodes * passed)


class EvaluateConfig(_Section):
    """The final scores."""

    episodes: Annotated[int, Field(ge=2)]
    lanes: Count
    workers: Count
    video_steps: Count


STAGES: dict[str, type[_Section]] = {
    "collect": CollectConfig,
    "vae": VAEConfig,
    "encode": EncodeConfig,
    "rnn": RNNConfig,
    "dream": DreamConfig,
    "controller": ControllerConfig,
    "evaluate": EvaluateConfig,
}


class RoundConfig(_Section):
    """A round after a task's first."""

    task: str
    after: str


class TemperatureConfig(_Section):
    """The sweep over temperatures, for the tasks that are named."""

    tasks: list[str]
    taus: Annotated[list[Count | Positive], Field(min_length=1)]  # whole ones stay as DVC has them

    @field_validator("taus")
    @classmethod
    def _once_each(cls, taus: list[float]) -> list[float]:
        if len(set(taus)) < len(taus):
            raise ValueError("one of them is there twice")
        return taus


class AblationConfig(_Section):
    """C with less than the paper's agent has, for the tasks that are named."""

    tasks: list[str]


SWEEPS: dict[str, type[_Section]] = {"temperature": TemperatureConfig, "ablation": AblationConfig}

Section = TypeVar("Section", bound=_Section)


BEFORE = "before"
"""The warm start of C from that of the round before."""
AGAIN = "again"
"""The block of what a task's later rounds do differently."""


class Params:
    """params.yaml, read for one round of one task.

    Raises ConfigError, naming the key, for whatever is missing, unknown or out of range, also in
    sections of later stages: better now than after hours of training.
    """

    def __init__(self, path: Path, round_: str) -> None:
        """Reads them for a task's first round, which has the task's name, or for a later one."""
        self._take(path, round_, _read(path))

    def of(self, round_: str) -> "Params":
        """Those of another round, as they stood in the file when it was read."""
        other = copy(self)
        other._take(self.path, round_, self._whole)
        return other

    def _take(self, path: Path, round_: str, contents: dict[str, Any]) -> None:
        self.path, self.round = path, round_
        self._contents = self._whole = contents
        self._later = False
        self.scale = self._validated(str, "scale")
        self.seed = self._validated(Seed, "seed")
        self.task, self.after = self._place(round_)
        self._refuse_unknown([*STAGES, AGAIN], self.scale, self.task)
        scales = [key for key, value in self._contents.items() if isinstance(value, dict)]
        self._refuse_unknown(dict.fromkeys(["scale", "tasks", "rounds", "seed", *SWEEPS, *scales]))
        self._validate_all()
        if AGAIN in self._get(self.scale, self.task) or self.after is not None:
            later = self.changed(self._again())
            later._later = True
            later._validate_all()
            if self.after is not None:
                self._contents, self._later = later._contents, True
                self.seed += 1_000_000 * (number(round_) - 1)  # not the same luck again
        if self.after is None:
            self._refuse_inheritance()

    def _place(self, round_: str) -> tuple[str, str | None]:
        """The task of a round, and the round that it goes on from, if it is no first one."""
        rounds = self._validated(dict[str, RoundConfig], "rounds")
        if round_ not in rounds:
            return round_, None
        key, own = f"{self.path.name}: rounds.{round_}", rounds[round_]
        if number(round_) < 2 or task(round_) != own.task:
            raise ConfigError(f"{key}: is to be called {own.task}-2 or another number")
        if task(own.after) != own.task or own.after not in [own.task, *rounds]:
            raise ConfigError(f"{key}.after: {own.after} is no round of {own.task}")
        return own.task, own.after

    def _again(self) -> dict[str, dict[str, Any]]:
        self._validated(dict[str, Any], self.scale, self.task, AGAIN)
        self._refuse_unknown(STAGES, self.scale, self.task, AGAIN)
        for stage in STAGES:
            self._validated(dict[str, Any], self.scale, self.task, AGAIN, stage)
        again: dict[str, dict[str, Any]] = self._get(self.scale, self.task, AGAIN)
        return again

    def _validate_all(self) -> None:
        for kind in STAGES.values():
            self.section(kind)
        for kind in SWEEPS.values():
            self.sweep(kind)

    def _refuse_inheritance(self) -> None:
        """Better now than when the stage runs."""
        inherited = {
            "collect.policy": self.section(CollectConfig).policy == "agent",
            "vae.warm_start": self.section(VAEConfig).warm_start,
            "rnn.warm_start": self.section(RNNConfig).warm_start,
            "controller.warm_start": self.section(ControllerConfig).warm_start == BEFORE,
        }
        for key in (key for key, true in inherited.items() if true):
            name = f"{self.path.name}: {self.scale}.{self.task}.{key}"
            raise ConfigError(f"{name}: a first round goes on from nothing")

    def section(self, kind: type[Section]) -> Section:
        """The parameters of one stage at the chosen scale."""
        stage = next(name for name, model in STAGES.items() if model is kind)
        return self._validated(kind, self.scale, self.task, stage)

    def sweep(self, kind: type[Section]) -> Section:
        """The parameters of a sweep, which are the same at every scale."""
        return self._validated(kind, next(name for name, model in SWEEPS.items() if model is kind))

    def changed(self, changes: Mapping[str, Mapping[str, object]]) -> "Params":
        """The same with other values in some of the task's sections."""
        own = self._contents[self.scale][self.task]
        sections = {name: own[name] | values for name, values in changes.items()}
        scale = self._contents[self.scale] | {self.task: own | sections}
        other = copy(self)
        other._contents = self._contents | {self.scale: scale}
        return other

    def _refuse_unknown(self, known: Iterable[str], *keys: str) -> None:
        for key in sorted(set(self._get(*keys)) - set(known), key=str):
            name = ".".join([*keys, str(key)])
            raise ConfigError(f"{self.path.name}: {name}: unknown; there are: {', '.join(known)}")

    def _validated(self, kind: Any, *keys: str) -> Any:
        values = self._get(*keys)
        try:
            return TypeAdapter(kind).validate_python(values)
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(self._place_in_file([*keys, *map(str, problem["loc"])]))
            given = "" if problem["type"] == "missing" else _given(problem["input"])
            raise ConfigError(f"{self.path.name}: {key}: {problem['msg']}{given}") from None

    def _place_in_file(self, keys: list[str]) -> list[str]:
        """A key, in the block of what later rounds do differently if its value is from there."""
        if self._later and len(keys) > 3 and keys[3] in self._again().get(keys[2], {}):
            return [*keys[:2], AGAIN, *keys[2:]]
        return keys

    def _get(self, *keys: str) -> Any:
        value = self._contents
        for depth, key in enumerate(keys):
            if not isinstance(value, dict) or key not in value:
                known = ", ".join(map(str, value)) if isinstance(value, dict) else "nothing"
                name = ".".join(keys[: depth + 1])
                raise ConfigError(f"{self.path.name}: {name}: no such key; there are: {known}")
            value = value[key]
        return value


def _given(value: object) -> str:
    exponent = isinstance(value, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value)
    hint = ": text to YAML, which wants a dot, as in 1.0e-3" if exponent else ""
    return f" (given: {value!r}{hint})"


def _read(path: Path) -> dict[str, Any]:
    try:
        contents = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: missing; run this from the project's folder") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(contents, dict):
        raise ConfigError(f"{path}: holds no parameters")
    return contents
