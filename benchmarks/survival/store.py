"""Bits that flip in MLflow's database, whose pages have no checksum: does a result change?"""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.survival.kills import REPRO, ran
from benchmarks.survival.part import NAMES, Attempt, Part, Result, copied, differing, finished
from tests.damage import flip_a_bit
from tests.projects import forget

TASK = "pendulum"
FIRST_PAGES = 16 * 4096
"""Bytes in which SQLite keeps what tables there are."""
CLI = [sys.executable, "-m", "world_models.cli"]
COMMANDS = [
    [sys.executable, "-m", "pipelines.keep", TASK],
    [*CLI, "evaluate", TASK, "--model", "1", "--episodes", "2", "--workers", "1"],
    [*CLI, "disk"],
]
"""Commands that read the database, and have to say in one line where they can't."""


@contextmanager
def begin(folder: Path) -> Iterator[Attempt]:
    """Has a stage run, and a command, each with a database that is damaged."""
    project = finished(folder, TASK)

    def attempt(number: int) -> Result:
        chance, name = random.Random(number), NAMES[number % len(NAMES)]
        command = COMMANDS[number % len(COMMANDS)]
        with copied(project) as copy:
            database = copy / "mlflow.db"
            size = database.stat().st_size
            place = chance.randrange(min(size, FIRST_PAGES) if number % 2 else size)
            flip_a_bit(database, place, chance.randrange(8))
            faults = of_command(copy, command)
            forget(copy, [f"{name}@{TASK}"])
            done = ran(copy, [*REPRO, "--force", "--single-item", f"{name}@{TASK}"])
            faults += [f"{name}: exit code {done.returncode}"] if done.returncode else []
            faults += [f"{name}: a traceback"] if "Traceback" in done.stdout else []
            faults += differing(copy, project)
        said = [line for line in done.stdout.splitlines() if line.startswith("tracking: ")]
        return {"place": place, "said": said, "faults": [f"byte {place}: {one}" for one in faults]}

    yield attempt


def of_command(project: Path, command: list[str]) -> list[str]:
    """Faults of a command: it works, or says in one line why it doesn't."""
    done = ran(project, command)
    lines = done.stdout.splitlines()
    if done.returncode == 0 or (done.returncode == 1 and len(lines) == 1):
        return []
    return [f"{command[2]}: exit code {done.returncode}: {lines[-1] if lines else 'nothing said'}"]


def told(results: list[Result]) -> str:
    """How often a stage had something to say of the database."""
    return f"in {sum(bool(result['said']) for result in results)} the stage says what is not logged"


PART = Part("store", 50, begin, told)
