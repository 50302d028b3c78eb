"""params.yaml with something wrong in it: is it refused in one line that names the right key?"""

import random
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml

from benchmarks.survival.part import Attempt, Part, Result
from world_models.params import ALL, PARAMS, Params
from world_models.reference import in_force
from world_models.runtime.errors import WorldModelsError
from world_models.tasks import task_names

BY_COMMAND = 40
"""Of so many files one is read by the command too."""
WRONG: tuple[Any, ...] = (
    *(None, True, "", "x", "1e-3", "none", "carracing", "\u2028", "small.all", "*x", "2026-01-01"),
    *(-1, 0, 1, 1.5, 10**30, -(10**30), 1e-300, float("inf"), float("-inf"), float("nan")),
    *([], [1], ["x"], [[]], [None], {}, {"x": 1}, {1: 2}, {None: None}, {"batches": {}}),
)
"""What a key is given."""


class Mutant(NamedTuple):
    """A file with something wrong in it."""

    text: str
    key: str
    """The key that was changed, `small.all.vae.batches`; empty where a letter of the text was."""


@contextmanager
def begin(_folder: Path) -> Iterator[Attempt]:
    """Reads each file as the command does, most of them in this process."""
    text = PARAMS.read_text()
    contents = yaml.safe_load(text)
    scales = [key for key, block in contents.items() if is_scale(block)]
    with TemporaryDirectory(prefix="survival-") as place:

        def attempt(number: int) -> Result:
            chance = random.Random(number)
            scale, task = chance.choice(scales), chance.choice(task_names())
            mutant = mutated(text, contents | {"scale": scale}, task, chance)
            file = Path(place, PARAMS.name)
            file.write_text(mutant.text)
            said, faults = read(file, task)
            if said and mutant.key and not names(said, mutant.key):
                faults.append("another key is named")
            if number % BY_COMMAND == 0:
                faults += differs(file, task, said)
            changed = mutant.key or "a letter"
            return {
                "key": changed,
                "said": said,
                "faults": [f"{task} at {scale}, {changed}: {fault}: {said}" for fault in faults],
            }

        yield attempt


def mutated(text: str, contents: Mapping[str, Any], task: str, chance: random.Random) -> Mutant:
    """The file with a key given another value, misspelt or gone, or with another letter."""
    if chance.random() < 0.2:
        return Mutant(with_another_letter(text, chance), "")
    changed = deepcopy(dict(contents))
    *path, last = chance.choice(keys_read(contents, task)).split(".")
    place = changed
    for part in path:
        place = place[part]
    match chance.choice(["given", "given", "given", "gone", "misspelt"]):
        case "given":
            place[last] = deepcopy(chance.choice(WRONG))
        case "gone":
            del place[last]
        case "misspelt":
            value = place.pop(last)
            last = misspelt(last, chance)
            place[last] = value
    return Mutant(yaml.dump(changed, Dumper=yaml.CSafeDumper), ".".join([*path, last]))


def is_scale(block: Any) -> bool:
    """Whether a block of the file is a scale's."""
    return isinstance(block, dict) and ALL in block


def keys_read(contents: Mapping[str, Any], task: str) -> list[str]:
    """All keys that are read for a task at the scale that the file names."""
    blocks = tuple(f"{contents['scale']}.{block}." for block in (ALL, task))
    return [
        key
        for key in inside(contents)
        if key.startswith(blocks) or not is_scale(contents[key.partition(".")[0]])
    ]


def inside(contents: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """All keys, dotted."""
    for key, value in contents.items():
        yield f"{before}{key}"
        if isinstance(value, dict):
            yield from inside(value, f"{before}{key}.")


def misspelt(word: str, chance: random.Random) -> str:
    """The word with two letters for one."""
    place = chance.randrange(len(word))
    return word[:place] + word[place] + word[place:]


def with_another_letter(text: str, chance: random.Random) -> str:
    """The text with a letter more, fewer or another, or cut short."""
    place, letter = chance.randrange(len(text)), chance.choice("\t:-[{&*!|>%@`\"'#, \n0aé\x00")
    return chance.choice(
        [
            text[:place] + letter + text[place:],
            text[:place] + text[place + 1 :],
            text[:place] + letter + text[place + 1 :],
            text[:place],
        ]
    )


def read(file: Path, task: str) -> tuple[str, list[str]]:
    """What a file is refused with, empty if it is taken, and what is wrong with that."""
    try:
        in_force(Params(file, task))
    except WorldModelsError as error:
        said = str(error)
        return said, ["more than a line"] if "\n" in said else []
    except Exception as error:
        return f"{type(error).__name__}: {error}", ["a traceback"]
    return "", []


def names(said: str, key: str) -> bool:
    """Whether an error is about a key: it, one inside it, its section, or one at odds with it."""
    named, _, why = said.partition(": ")[2].partition(": ")
    section, _, last = key.rpartition(".")
    about = f"{named}.".startswith(f"{key}.") or named == section
    return about or re.search(rf"\b{re.escape(last)}\b", why) is not None


def differs(file: Path, task: str, said: str) -> list[str]:
    """Faults of the command, which should say the same of a file."""
    command = [sys.executable, "-m", "world_models.cli", "params", task]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, check=False)
    if not said:
        return [] if done.returncode == 0 else [f"the command refuses it: {done.stderr}"]
    whole = (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    return [] if whole else [f"the command says: {done.stderr}"]


def told(results: list[Result]) -> str:
    """How many were refused; many a change leaves a file that is right."""
    return f"{sum(bool(result['said']) for result in results)} refused"


PART = Part("params", 2000, begin, told)
