"""`make bench`: prints the table and writes reports/bench.json."""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import learning, spread, worlds
from benchmarks.measure import Effort, Measured, Row, Work, compare
from world_models.runtime.files import atomic_write
from world_models.runtime.memory import keep_freed_memory

ALLOWED_S = 0.3
"""What the command line may take to start, beyond Python itself."""


def start(effort: Effort) -> Measured:
    """The command line's first words."""
    parts = [Work(lambda: _ran("-c", "pass")), Work(_allowed)]
    return compare(Work(lambda: _ran("-c", HELP)), parts, effort)


HELP = (
    "import sys; sys.argv = ['world-models', '--help']; from world_models.cli import main; main()"
)
"""What its script does."""


def _ran(*arguments: str) -> int:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return 1


def _allowed() -> int:
    time.sleep(ALLOWED_S)
    return 1


ROWS = [
    *worlds.ROWS,
    *learning.ROWS,
    *spread.ROWS,
    Row("world-models --help", f"python -c pass, and {ALLOWED_S} s", "starts", 1, start),
]


def main() -> None:
    """Measures the rows whose path holds one of the texts given (all without one)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("path", nargs="*", help="only rows whose path holds one of these texts")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each row")
    parser.add_argument("--output", type=Path, default=Path("reports/bench.json"))
    arguments = parser.parse_args()
    effort = Effort(arguments.seconds, arguments.rounds)
    keep_freed_memory()
    asked = arguments.path or [""]
    if unknown := [text for text in asked if not matching(text)]:
        sys.exit(f"bench: no row's path holds {unknown[0]!r}")
    chosen = [row for row in ROWS if any(row in matching(text) for text in asked)]
    head = line("path", "against", "a second", "reference", "ratio", "at least", "precision")
    print(head, flush=True)
    measured = []
    for row in chosen:
        found = row.measure(effort)
        measured.append(described(row, found))
        print(shown(row, found), flush=True)
        with atomic_write(arguments.output) as aside:
            aside.write_text(json.dumps({"machine": machine(), "rows": measured}, indent=2) + "\n")


def matching(text: str) -> list[Row]:
    """Rows whose path holds the text."""
    return [row for row in ROWS if text.lower() in row.path.lower()]


def shown(row: Row, found: Measured) -> str:
    """A line of the table."""
    rates = (f"{value:,.4g}" for value in (found.rate, found.reference))
    short = "" if found.ratio >= row.at_least else "  short"
    ratio, precision = f"{found.ratio:.2f}", found.precision or "-"
    return line(row.path, row.against, *rates, ratio, f"{row.at_least:g}", precision) + short


def line(path: str, against: str, *columns: str) -> str:
    """Columns of text."""
    return f"{path:26}{against:32}" + "".join(f"{column:>11}" for column in columns)


def described(row: Row, found: Measured) -> dict[str, Any]:
    """A row for bench.json."""
    return {
        "path": row.path,
        "against": row.against,
        "unit": row.unit,
        "rate": found.rate,
        "reference": found.reference,
        "ratio": found.ratio,
        "precision": found.precision,
        "at_least": row.at_least,
        "reached": found.ratio >= row.at_least,
    }


def machine() -> dict[str, Any]:
    """What it was measured on."""
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return gpu | {
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
