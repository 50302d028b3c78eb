"""`kill -9` of a dvc, its stage or a stage's worker at any moment, then what `make repro` calls."""

import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import psutil

from benchmarks.survival.part import (
    NAMES,
    Attempt,
    Part,
    Result,
    copied,
    differing,
    finished,
    locked,
)
from tests.projects import environment, forget
from world_models.runtime.journal import Journal

REPAIR = [sys.executable, "-m", "pipelines.dvc.repair"]
REPRO = [sys.executable, "-m", "dvc", "repro"]
WORDS = {"stage": "pipelines.", "worker": "spawn_main"}
"""In the command line of who is killed, if it is not dvc itself."""
PATIENCE_S = 120
"""For all that comes of a dvc to end after it."""


class Effort(NamedTuple):
    """What a run took."""

    seconds: float
    processor: float
    """Seconds of the processor, which another program takes nothing from."""


def part(task: str, tries: int) -> Part:
    """The kills in one task's pipeline."""
    return Part(task, tries, partial(begin, task), told)


@contextmanager
def begin(task: str, folder: Path) -> Iterator[Attempt]:
    """Kills the stages in turn."""
    project = finished(folder, task)
    efforts = Journal(folder / f"{task}-undisturbed.jsonl")
    for name in NAMES[len(efforts.records) :]:
        efforts.append(undisturbed(project, f"{name}@{task}"))
    usual = {name: Effort(*record) for name, record in zip(NAMES, efforts.records, strict=True)}

    def attempt(number: int) -> Result:
        chance, name = random.Random(f"{task} {number}"), NAMES[number % len(NAMES)]
        moment = chance.uniform(0, usual[name].seconds)
        result = None
        while result is None:  # it had ended by then
            result = killed(project, f"{name}@{task}", moment, usual[name], chance)
            moment *= 0.8
        return result

    yield attempt


def undisturbed(project: Path, stage: str) -> Effort:
    """What making one stage's results takes."""
    with copied(project) as copy:
        unmake(copy, stage)
        begun, before = time.monotonic(), used()
        done = ran(copy, REPRO)
        assert done.returncode == 0, done.stdout
        return Effort(time.monotonic() - begun, used() - before)


def killed(
    project: Path, stage: str, moment: float, usual: Effort, chance: random.Random
) -> Result | None:
    """What came of a kill, so many seconds after the start; None where all had ended by then."""
    with copied(project) as copy, TemporaryFile("w+") as output:
        unmake(copy, stage)
        kill = kill_one(copy, moment, chance, output)
        if kill is None:
            return None
        output.seek(0)
        said, faults = output.read(), kill.faults
        ran(copy, REPAIR)
        before = used()
        done = ran(copy, REPRO)
        said += done.stdout
        faults += [f"dvc repro: exit code {done.returncode}"] if done.returncode else []
        faults += ["a traceback"] if "Traceback" in said else []
        faults += differing(copy, project)
        return {
            "stage": stage,
            "who": kill.who,
            "moment": round(moment, 2),
            "of": round(usual.seconds, 2),
            "went_on": re.findall(r"going on after (\d+ of \d+ \w+)", done.stdout),
            "repeated": round(kill.processor + used() - before - usual.processor, 2),
            "undisturbed": round(usual.processor, 2),
            "faults": [f"{stage}, {kill.who} killed: {fault}" for fault in faults],
        }


class Kill(NamedTuple):
    """A kill that has found somebody."""

    who: str
    processor: float
    """Seconds that all had used by then."""
    faults: list[str]


def kill_one(project: Path, moment: float, chance: random.Random, output: IO[str]) -> Kill | None:
    """Starts dvc, and after a while kills it, its stage or a worker; None where it had ended."""
    process = psutil.Popen(
        REPRO, cwd=project, env=environment(project), stdout=output, stderr=subprocess.STDOUT
    )
    with suppress(psutil.TimeoutExpired, subprocess.TimeoutExpired):
        process.wait(moment)
        return None
    try:
        family = [process, *process.children(recursive=True)]
        found = {"dvc": [process]} | {who: of(family, word) for who, word in WORDS.items()}
        who = chance.choice([who for who, members in found.items() if members])
        processor = sum(sum(one.cpu_times()[:4]) for one in family)
        chance.choice(found[who]).kill()
    except psutil.NoSuchProcess:  # one has just ended
        process.kill()
        return None
    with suppress(psutil.TimeoutExpired, subprocess.TimeoutExpired):
        process.wait(PATIENCE_S)
    _, alive = psutil.wait_procs(family, PATIENCE_S)
    faults = [f"it outlived dvc: {' '.join(one.cmdline())}" for one in alive]
    for one in alive:
        one.kill()
    return Kill(who, processor, faults)


def of(family: Sequence[psutil.Process], word: str) -> list[psutil.Process]:
    """Those whose command line has a word."""
    return [one for one in family if any(word in argument for argument in one.cmdline())]


def unmake(project: Path, stage: str) -> None:
    """Has a stage never run: its results go, from the folder and from the cache."""
    for out in locked(project)[stage]["outs"]:
        path = project / out["path"]
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        md5 = out["md5"]
        (project / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]).unlink(missing_ok=True)
    forget(project, [stage])


def ran(project: Path, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """A command that is left alone, and all that it says."""
    return subprocess.run(
        command,
        cwd=project,
        env=environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def used() -> float:
    """Seconds of the processor that this process's children have used, once they have ended."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def told(results: list[Result]) -> str:
    """How much was repeated; the start of Python, of DVC and of the stage is among it."""
    repeated = [result["repeated"] for result in results]
    whole = statistics.median(result["undisturbed"] for result in results)
    middle, most = statistics.median(repeated), max(repeated)
    return f"repeated {middle:.1f} s of the processor, at most {most:.1f}; undisturbed {whole:.1f}"
