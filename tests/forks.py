"""`python -m MODULE` as a fork of a process that has imported the libraries, which takes seconds.

Of the project's own code nothing is imported before a command does it. A dvc's stages are forks of
that dvc.
"""

import multiprocessing
import os
import runpy
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

LIBRARIES = ["cma", "dvc.cli", "dvc.repo", "mlflow", "pytorch_lightning", "torch", "zarr"]
"""What commands import, and take seconds for."""
PYTHON_M = (sys.executable, "-m")
"""What such a command begins with."""
STAGE = "python -m pipelines."
"""The same of what dvc runs."""

_ORIGIN = multiprocessing.get_context("forkserver")
_ORIGIN.set_forkserver_preload(LIBRARIES)


def start(
    command: Sequence[str],
    folder: Path,
    variables: Mapping[str, str],
    said: Path,
    faults: Path,
    fresh: bool = False,
) -> BaseProcess:
    """Begins a command in a folder; what it says is added to two files, or to one.

    The process is known by its module's name, of which the system keeps 15 letters. A fresh one is
    a Python of its own all the same, as a user's would be.
    """
    assert tuple(command[:2]) == PYTHON_M
    files = (str(said), str(faults))
    arguments = (list(command[2:]), str(folder), dict(variables), files)
    process = _ORIGIN.Process(target=_begin_anew if fresh else _become, args=arguments)
    process.start()
    return process


def run(
    command: Sequence[str], folder: Path, variables: Mapping[str, str]
) -> CompletedProcess[str]:
    """Runs a command to its end."""
    with tempfile.TemporaryDirectory() as told:
        said, faults = (Path(told, name) for name in ("said", "faults"))
        process = start(command, folder, variables, said, faults)
        process.join()
        return CompletedProcess(
            command, process.exitcode or 0, said.read_text(), faults.read_text()
        )


def _become(
    command: Sequence[str], folder: str, variables: Mapping[str, str], files: Sequence[str]
) -> None:
    _tell(files)
    multiprocessing.set_start_method(None, force=True)  # a child's is its parent's
    import dvc.stage.run

    ordinary = dvc.stage.run._run

    def run_stage(program: str | None, command: str, **how: Any) -> None:
        if command.startswith(STAGE):
            _run_stage(command, how["cwd"], how["env"])
        else:
            ordinary(program, command, **how)

    dvc.stage.run._run = run_stage
    _run_module(command, folder, variables)


def _begin_anew(
    command: Sequence[str], folder: str, variables: Mapping[str, str], files: Sequence[str]
) -> None:
    _tell(files)
    os.chdir(folder)
    os.execve(sys.executable, [*PYTHON_M, *command], variables)


def _tell(files: Sequence[str]) -> None:
    for descriptor, file in zip((1, 2), files, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)


def _run_stage(command: str, folder: str, variables: Mapping[str, str]) -> None:
    from dvc.stage.exceptions import StageCmdFailedError

    arguments = (shlex.split(command)[2:], folder, variables)
    stage = multiprocessing.get_context("fork").Process(target=_run_module, args=arguments)
    stage.start()
    stage.join()
    if stage.exitcode:
        raise StageCmdFailedError(command, stage.exitcode)


def _run_module(command: Sequence[str], folder: str, variables: Mapping[str, str]) -> None:
    """Does in this process what `python -m` does in one of its own."""
    import torch

    module, *arguments = command
    Path("/proc/self/comm").write_text(module)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    torch.set_num_threads(int(variables.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))))
    sys.path[:0] = [folder, *variables.get("PYTHONPATH", "").split(os.pathsep)]
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
