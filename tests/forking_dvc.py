"""`dvc` whose stages are forks of it: they needn't import the libraries again, which takes seconds.

Of the project's own code nothing is imported before a stage does it.
"""

import multiprocessing
import os
import runpy
import shlex
import sys
from collections.abc import Mapping
from importlib import import_module

import dvc.stage.run
from dvc.cli import main
from dvc.stage.exceptions import StageCmdFailedError

LIBRARIES = ("cma", "dvc.repo", "gymnasium", "mlflow", "pytorch_lightning", "torch", "zarr")
"""What stages import, and take seconds for."""


def fork(_shell: str | None, command: str, *, cwd: str, env: Mapping[str, str], **_: object):
    """Runs a stage's command, `python -m pipelines.vae pendulum`."""
    stage = multiprocessing.get_context("fork").Process(target=run, args=(command, cwd, env))
    stage.start()
    stage.join()
    if stage.exitcode:
        raise StageCmdFailedError(command, stage.exitcode)


def run(command: str, cwd: str, env: Mapping[str, str]) -> None:
    """Does in this process what the command does in one of its own."""
    _python, _m, module, *arguments = shlex.split(command)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path.insert(0, cwd)
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for library in LIBRARIES:
        import_module(library)
    dvc.stage.run._run = fork
    sys.exit(main())
