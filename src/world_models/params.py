"""params.yaml: which values are in force for a round of a task, and where each comes from.

The later of these wins: the default of the room's config, the game's own values in the paper
(`Task.paper`), what the scale says of all games, what it says of the game, and, for a later round,
what the block says that the round names as its `settings`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator

from world_models.collecting.config import CollectConfig
from world_models.controller.config import ControllerConfig, DreamedBy
from world_models.evaluation.config import EvaluateConfig, FidelityConfig
from world_models.rnn.config import RNNConfig
from world_models.runtime.config import Config, Count, Executor, Positive, Strategy
from world_models.runtime.errors import ConfigError, one_line
from world_models.tasks import get_task, task_names
from world_models.vae.config import EncodeConfig, VAEConfig
from world_models.worlds.config import DreamConfig

PARAMS = Path("params.yaml")
"""The file, in the project's folder."""
SECTIONS: dict[str, type[Config]] = {
    "collect": CollectConfig,
    "vae": VAEConfig,
    "encode": EncodeConfig,
    "rnn": RNNConfig,
    "dream": DreamConfig,
    "fidelity": FidelityConfig,
    "controller": ControllerConfig,
    "evaluate": EvaluateConfig,
}
ALL = "all"
"""The block of what a scale says of all games."""
NOTHING = "nothing"
"""What a task's first round comes after."""
PRETRAINED = "pretrained"
"""What a round comes after that goes on from the agent of its task in the package."""
ORIGINS = NOTHING, PRETRAINED
"""What the first of a chain of rounds comes after."""

Section = TypeVar("Section", bound=Config)


class RoundConfig(Config):
    """One pass through the pipeline: a task's first, or one that goes on from another."""

    task: str
    """The game."""
    after: str
    """The round that this one goes on from; nothing, for a first one; or pretrained, for the agent
    that comes with the package, whose data set is not there."""
    settings: str
    """Which block of the scale it is run with: the task, or `TASK.BLOCK` of a later round."""


class MachineConfig(Config):
    """What the machine can bear. It changes no result, so no stage tracks it. One exception:
    several devices round otherwise than one, and the run says so."""

    executor: Executor = "local"
    """Who collects, encodes, evolves and scores. local: processes of this machine; ray: the workers
    of the Ray cluster that RAY_ADDRESS names, or else of a Ray of its own on this machine. The
    variable WORLD_MODELS_EXECUTOR takes its place."""
    workers: Count = 2
    """Processes that play games side by side while data is collected and agents are scored; also
    the workers of a Ray of its own. A cluster has as many workers as CPUs."""
    shared_files: bool = False
    """A Ray cluster's workers read and write the project's files themselves, which lie under the
    same path on each of its machines; false: files are sent to them and back."""
    devices: Count = 1
    """GPUs of this machine, or processes where it has none, among which V's and M's batches are
    split. Where there are several, the run and the checkpoint say how many."""
    strategy: Strategy = "auto"
    """How Lightning trains: auto is DDP on several devices; ddp is DDP on one too, which shows what
    it costs."""
    num_nodes: Count = 1
    """Machines with as many devices each; torchrun starts V's and M's trainings on each of them."""


class SweepTemperatureConfig(Config):
    """C evolved in dreams of several temperatures, for the tasks that are named."""

    tasks: list[str]
    """Tasks whose dreams are swept; an empty list turns the sweep off."""
    dreamed_by: Annotated[list[DreamedBy], Field(min_length=1)]
    """Whose dreams, as controller.dreamed_by says it."""
    temperatures: Annotated[list[Count | Positive], Field(min_length=1)]
    """Values of tau."""

    @field_validator("dreamed_by", "temperatures")
    @classmethod
    def _once_each(cls, values: list[Any]) -> list[Any]:
        if len(set(values)) < len(values):
            raise ValueError("one of them is there twice")
        return values


class SweepInputsConfig(Config):
    """C with less than the paper's agent has, for the tasks that are named."""

    tasks: list[str]
    """Tasks whose C is swept; an empty list turns the sweep off."""


class CompareRoundsConfig(Config):
    """Rounds beside those that led to them, as a table, a chart and a video."""

    rounds: list[str]
    """Rounds that are compared; an empty list makes no comparison."""


class ExportConfig(Config):
    """Agents as they are given to others: in half precision, scored anew, with a card."""

    rounds: list[str]
    """Rounds whose agents are exported; an empty list exports none."""


GENERAL: dict[str, type[Config]] = {
    "machine": MachineConfig,
    "sweep_temperature": SweepTemperatureConfig,
    "sweep_inputs": SweepInputsConfig,
    "compare_rounds": CompareRoundsConfig,
    "export": ExportConfig,
}
"""Sections that are the same at every scale."""


class Layer(NamedTuple):
    """Values of one section from one source."""

    source: str
    """Where they stand, in short: a key of params.yaml, `tasks/NAME.py` or `this sweep`."""
    place: str
    """The same as an error names it: the file and the key."""
    values: Mapping[str, Any]


class Params:
    """params.yaml, read for one round.

    Raises ConfigError, naming the key, for whatever is missing, unknown or out of range, also in
    sections of later stages and in blocks of later rounds: better now than after hours of training.
    """

    def __init__(self, path: str | Path, round_: str, scale: str | None = None) -> None:
        """Reads the file; `scale` takes the place of the one that it names."""
        self.path, self._contents = Path(path), _read(path)
        if scale is not None:
            self._contents["scale"] = scale
        self._changes: dict[str, Mapping[str, object]] = {}
        self.scale: str = self._validated(str, "scale")
        self._refuse_unknown_scale()
        self.rounds: dict[str, RoundConfig] = self._validated(dict[str, RoundConfig], "rounds")
        if round_ not in self.rounds and round_ in task_names():  # by hand: its first round
            self.rounds |= {round_: RoundConfig(task=round_, after=NOTHING, settings=round_)}
        for name in self.rounds:
            self._refuse_name_or_task(name)
        self._take(round_)
        self._refuse_unknown_keys()
        self._validate_everything()

    def of(self, round_: str) -> "Params":
        """Returns those of another round, as they stood in the file when it was read."""
        other = copy(self)
        other._changes = {}
        other._take(round_)
        return other

    def _take(self, round_: str) -> None:
        self.round = round_
        chain = self._chain(round_)
        own = self.rounds[round_]
        self.task, self.settings = own.task, own.settings
        self.after = None if own.after == NOTHING else own.after
        # A round that goes on from the package's agent is at least its task's second.
        self.number = len(chain) + (self.rounds[chain[0]].after == PRETRAINED)
        # A later round has not the same luck again.
        self.base_seed: int = self._validated(Annotated[int, Field(ge=0, lt=2**31)], "seed")
        self.seed = self.base_seed + 1_000_000 * (self.number - 1)

    def _chain(self, round_: str) -> list[str]:
        """The rounds that led to this one, itself the last; each is known and of the same task."""
        chain: list[str] = []
        while round_ not in ORIGINS:
            key = f"{self.path.name}: rounds.{chain[-1]}.after" if chain else round_
            if round_ not in self.rounds:
                known = _listed(sorted({*self.rounds, *task_names()}))
                raise ConfigError(f"{key}: no round {round_!r}; there are: {known}")
            if round_ in chain:
                raise ConfigError(f"{key}: {round_} would come after itself")
            if chain and self.rounds[round_].task != self.rounds[chain[0]].task:
                raise ConfigError(f"{key}: {round_} is of another task")
            chain.append(round_)
            round_ = self.rounds[round_].after
        return chain[::-1]

    @property
    def chain(self) -> list[str]:
        """The rounds that led to this one, the first of them first, itself the last."""
        return self._chain(self.round)

    def section(self, kind: type[Section]) -> Section:
        """Returns the values in force of one section at the chosen scale."""
        name = next(name for name, model in SECTIONS.items() if model is kind)
        return self._merged(kind, self.layers(name))

    def general(self, kind: type[Section]) -> Section:
        """Returns a section that is the same at every scale; what it leaves out has its default."""
        name = next(name for name, model in GENERAL.items() if model is kind)
        return self._validated(kind, name)

    def layers(self, section: str) -> list[Layer]:
        """Returns where a section's values come from; the later wins."""
        layers = self._first_layers(section)
        if self.settings != self.task:
            layers.append(self._layer(*self._block(self.round), section))
        if section in self._changes:
            layers.append(Layer("this sweep", f"this sweep: {section}", self._changes[section]))
        return layers

    def changed(self, changes: Mapping[str, Mapping[str, object]]) -> "Params":
        """Returns the same with other values in some of the sections."""
        other = copy(self)
        other._changes = dict(changes)
        return other

    def origins(self, section: str) -> dict[str, str]:
        """Returns where each value of a section comes from, by its name."""
        found = dict.fromkeys(SECTIONS[section].model_fields, "the default")
        for layer in self.layers(section):
            found |= dict.fromkeys(layer.values, layer.source)
        return found

    def _first_layers(self, section: str) -> list[Layer]:
        file = f"tasks/{self.task}.py"
        return [
            Layer(file, f"{file}: paper.{section}", get_task(self.task).paper.get(section, {})),
            self._layer(self.scale, ALL, section),
            self._layer(self.scale, self.task, section),
        ]

    def _block(self, round_: str) -> list[str]:
        task, settings = self.rounds[round_].task, self.rounds[round_].settings
        keys = settings.split(".")
        if keys[0] != task or len(keys) > 2:
            name = f"{self.path.name}: rounds.{round_}.settings"
            raise ConfigError(f"{name}: {settings} is neither {task} nor {task}.BLOCK")
        return [self.scale, *keys]

    def _layer(self, *keys: str) -> Layer:
        key = ".".join(keys)
        return Layer(key, f"{self.path.name}: {key}", self._validated(dict[str, Any], *keys))

    def _merged(self, kind: type[Section], layers: Iterable[Layer]) -> Section:
        merged: dict[str, Any] = {}
        for layer in layers:
            _refuse_unknown(f"{layer.place}.", layer.values, kind.model_fields)
            merged |= layer.values
        try:
            return kind(**merged)
        except ValidationError as error:
            raise _refusal(error, merged, list(layers)) from None

    def _refuse_unknown_keys(self) -> None:
        scales = [key for key, value in self._contents.items() if isinstance(value, dict)]
        known = dict.fromkeys(["scale", "seed", "rounds", *GENERAL, *scales])
        _refuse_unknown(f"{self.path.name}: ", self._contents, known)
        every = self._layer(self.scale, ALL)
        _refuse_unknown(f"{every.place}.", every.values, SECTIONS)
        _refuse_unknown(f"tasks/{self.task}.py: paper.", get_task(self.task).paper, SECTIONS)

    def _validate_everything(self) -> None:
        for round_ in self.rounds:
            self._chain(round_)
            self._block(round_)
        for general in GENERAL.values():
            self.general(general)
        for block in ({}, *self._later_blocks()):
            for name, kind in SECTIONS.items():
                self._merged(kind, [*self._first_layers(name), *block.get(name, [])])
        for kind in SECTIONS.values():
            self.section(kind)
        if self.after is None:
            self._refuse_inheritance()
        self._refuse_too_few_dreamers()

    def _later_blocks(self) -> Iterator[dict[str, list[Layer]]]:
        """What the scale says of the task's later rounds: a layer a section."""
        for name in self._validated(dict[str, Any], self.scale, self.task):
            if name not in SECTIONS:
                block = self._layer(self.scale, self.task, name)
                if not set(block.values) & set(SECTIONS):  # most likely a section's name misspelt
                    known = ", ".join(SECTIONS)
                    raise ConfigError(
                        f"{block.place}: neither a section nor a block of a later round, which has "
                        f"sections; there are: {known}"
                    )
                _refuse_unknown(f"{block.place}.", block.values, SECTIONS)
                keys = self.scale, self.task, name
                yield {part: [self._layer(*keys, part)] for part in block.values}

    def _refuse_unknown_scale(self) -> None:
        blocks = self._contents.items()
        scales = [name for name, block in blocks if isinstance(block, dict) and ALL in block]
        if self.scale not in scales:
            named = f"{self.path.name}: scale: unknown scale {self.scale!r}"
            raise ConfigError(f"{named}; there are: {_listed(scales)}")

    def _refuse_name_or_task(self, round_: str) -> None:
        """A name is a part of paths and of stages' names; a task's is that of its first round."""
        key, task = f"{self.path.name}: rounds.{round_}", self.rounds[round_].task
        known = task_names()
        if task not in known:
            raise ConfigError(f"{key}.task: unknown task {task!r}; known tasks: {_listed(known)}")
        anothers = round_ in known and round_ != task
        if anothers or round_ in ORIGINS or not re.fullmatch(r"[\w-]+", round_):
            raise ConfigError(f"{key}: a round can't be called that")

    def _refuse_inheritance(self) -> None:
        """Better now than when the stage runs."""
        inherited = {
            ("collect", "policy"): self.section(CollectConfig).policy == "agent",
            ("vae", "warm_start"): self.section(VAEConfig).warm_start,
            ("rnn", "warm_start"): self.section(RNNConfig).warm_start,
            ("controller", "warm_start"): self.section(ControllerConfig).warm_start is not None,
        }
        for section, field in (key for key, true in inherited.items() if true):
            place = _place(self.layers(section), field)
            raise ConfigError(f"{place}: a first round goes on from nothing")

    def _refuse_too_few_dreamers(self) -> None:
        """C needs those in whose dreams it is evolved, and theirs those that they go on from."""
        rnn, sweep = self.section(RNNConfig), self.general(SweepTemperatureConfig)
        if self.section(ControllerConfig).dreamed_by == "others" and not rnn.dreamers:
            place = _place(self.layers("controller"), "dreamed_by")
            raise ConfigError(f"{place}: others, and rnn.dreamers is 0")
        if self.task in sweep.tasks and "others" in sweep.dreamed_by and not rnn.dreamers:
            place = f"{self.path.name}: sweep_temperature.dreamed_by"
            raise ConfigError(f"{place}: others, and rnn.dreamers of {self.task} is 0")
        if self.after is not None and rnn.warm_start:
            packaged = self.after == PRETRAINED  # with M alone
            before = 0 if packaged else self.of(self.after).section(RNNConfig).dreamers
            if before < rnn.dreamers:
                place = _place(self.layers("rnn"), "dreamers")
                raise ConfigError(f"{place}: {rnn.dreamers} go on from {before} in {self.after}")

    def _validated(self, kind: Any, *keys: str) -> Any:
        value = self._get(*keys)
        try:
            return TypeAdapter(kind).validate_python(value, strict=True)
        except ValidationError as error:
            # First a key that there is not: it may be one that is missing, misspelt.
            problem = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
            key = ".".join([*keys, *_inside(value, problem["loc"], problem["type"])])
            given = _given(problem)
            raise ConfigError(f"{self.path.name}: {key}: {problem['msg']}{given}") from None

    def _get(self, *keys: str) -> Any:
        value: Any = self._contents
        for depth, key in enumerate(keys):
            if not isinstance(value, dict) or key not in value:
                known = _listed(value) if isinstance(value, dict) else "nothing"
                name = ".".join(keys[: depth + 1])
                raise ConfigError(f"{self.path.name}: {name}: no such key; there are: {known}")
            value = value[key]
        return value


def _refusal(error: ValidationError, merged: Mapping[str, Any], layers: list[Layer]) -> ConfigError:
    """An error that names the place of the value that is in force."""
    problem = error.errors()[0]
    field, *inside = _inside(merged, problem["loc"], problem["type"]) or [""]
    key = ".".join(part for part in (_place(layers, field), *inside) if part)
    return ConfigError(f"{key}: {problem['msg']}{_given(problem)}")


def _inside(value: Any, parts: Iterable[int | str], fault: str) -> list[str]:
    """The keys that lead to a fault; pydantic has the types that it has tried among them."""
    found = []
    for part in parts:
        if isinstance(value, Mapping) and (part in value or fault == "missing"):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        else:
            break
        found.append(str(part))
    return found


def _place(layers: list[Layer], field: str) -> str:
    """Where the value in force stands: the file and the key."""
    place = next((at.place for at in reversed(layers) if field in at.values), layers[-1].place)
    return ".".join(part for part in (place, field) if part)


def _refuse_unknown(before: str, keys: Iterable[str], known: Iterable[str]) -> None:
    for key in sorted(set(keys) - set(known), key=str):
        raise ConfigError(f"{before}{key}: unknown; there are: {', '.join(known)}")


def round_names(path: str | Path) -> list[str]:
    """Returns the rounds that a params.yaml lists; none where it is missing or holds none."""
    try:
        rounds = _read(path)["rounds"]
    except (ConfigError, KeyError):
        return []
    return list(rounds) if isinstance(rounds, dict) else []


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"


def _given(problem: Any) -> str:
    if problem["type"] == "missing":
        return ""
    value = problem["input"]
    exponent = isinstance(value, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value)
    hint = ": text to YAML, which wants a dot, as in 1.0e-3" if exponent else ""
    return f" (given: {value!r}{hint})"


def _read(path: str | Path) -> dict[str, Any]:
    try:
        text = Path(path).read_text(encoding="utf-8")
        contents = yaml.load(text, yaml.CSafeLoader)  # ten times as quick as Python's
    except FileNotFoundError:
        raise ConfigError(f"{path}: missing; run this from the project's folder") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {one_line(error)}") from None
    if not isinstance(contents, dict):
        raise ConfigError(f"{path}: holds no parameters")
    return contents
