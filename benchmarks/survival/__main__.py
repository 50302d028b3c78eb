"""What a pipeline survives: kills, wrong parameters, damaged files and a damaged store of runs.

    python -m benchmarks.survival                    # all, which takes hours
    python -m benchmarks.survival kills --tries 2    # one part, and fewer tries

Each try is noted as soon as it is made. Stopped, it goes on where it was; after an edit of the
pipeline's code it begins anew.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.survival import bits, kills, mutants, store
from benchmarks.survival.part import Part, Result
from tests.projects import FILES, FOLDERS
from world_models.runtime.files import atomic_write
from world_models.runtime.journal import Journal
from world_models.runtime.progress import Progress

PARTS = {
    "kills": [kills.part("pendulum", 50), kills.part("takecover", 10)],
    "params": [mutants.PART],
    "bits": [bits.PART],
    "store": [store.PART],
}


def main() -> None:
    """Makes the tries that have not been made; exit code 1 where one was not survived."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.survival", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"of these: {', '.join(PARTS)} (all)")
    parser.add_argument("--tries", type=int, help="of each part; of later games in proportion")
    parser.add_argument("--folder", type=Path, default=Path("build", "survival"))
    arguments = parser.parse_args()
    if unknown := set(arguments.part) - PARTS.keys():
        sys.exit(f"survival: no part {min(unknown)!r}; there are: {', '.join(PARTS)}")
    os.environ["OMP_NUM_THREADS"] = "2"  # with as many threads results have the same bytes
    folder = arguments.folder.resolve() / code()
    survived = True
    for name in arguments.part or PARTS:
        first = PARTS[name][0].tries
        for part in PARTS[name]:
            tries = part.tries if arguments.tries is None else arguments.tries * part.tries // first
            if not tries:
                continue
            results = made(part, tries, folder)
            faults = [fault for result in results for fault in result["faults"]]
            print(
                f"{part.name}: {len(faults)} faults in {len(results)} tries; {part.told(results)}"
            )
            survived = survived and not faults
    sys.exit(not survived)


def made(part: Part, tries: int, folder: Path) -> list[Result]:
    """The results of so many tries, those that were made before among them."""
    journal = Journal(folder / f"{part.name}.jsonl")
    before = len(journal.records)
    if before < tries:
        with part.begin(folder) as attempt, Progress(part.name, tries, "tries") as progress:
            progress.advance(before)
            for number in range(before, tries):
                result = attempt(number)
                journal.append(result)
                for fault in result["faults"]:
                    print(f"{part.name}, try {number}: {fault}", file=sys.stderr)
                progress.advance(1)
        with atomic_write(folder / f"{part.name}.json") as aside:
            aside.write_text(json.dumps(journal.records, indent=2) + "\n")
    return journal.records[:tries]


def code() -> str:
    """Names the code that the tries are of, committed or not."""
    digest = hashlib.md5()
    for file in sorted(files()):
        digest.update(f"{file} ".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def files() -> Iterator[Path]:
    """All that a project is made from."""
    yield from map(Path, FILES)
    for folder in FOLDERS:
        yield from Path(folder).rglob("*.py")


if __name__ == "__main__":
    main()
