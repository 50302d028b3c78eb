"""Stages and commands in the process of a test, which has imported already what they need."""

import contextlib
import runpy
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from pipelines import stage
from pipelines.context import Context
from tests.projects import ROOT
from world_models.tracking.run import StageRun


def stay_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a stage leave the process's own settings alone, and track nothing."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for of_the_process in ("leave_nothing_behind", "keep_freed_memory"):
        monkeypatch.setattr(stage, of_the_process, lambda: None)
    monkeypatch.setattr(stage, "stage_run", lambda **_: contextlib.nullcontext(StageRun()))


def run_here(name: str, *arguments: str, work: Callable[[Context], None] | None = None) -> object:
    """Runs a stage, or other work in its place, and returns how it exits: 0, a code or a line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *arguments])
        try:
            if work is None:
                runpy.run_path(str(Path(ROOT, "pipelines", f"{name}.py")), run_name="__main__")
            else:
                stage.main(name, work)
        except SystemExit as exit_:
            return exit_.code
    return 0


def said_here(main: Callable[[], None], *arguments: str) -> str:
    """What a command prints, which succeeds."""
    said, code = _ended(main, *arguments)
    assert not code, code
    return said


def refused_here(main: Callable[[], None], *arguments: str) -> str:
    """The one line that a command is refused with, which prints nothing else."""
    said, code = _ended(main, *arguments)
    assert isinstance(code, str), said
    assert (said, code.count("\n")) == ("", 0)
    return code


def _ended(main: Callable[[], None], *arguments: str) -> tuple[str, object]:
    """What a command prints, and how it exits: None, a code or a line."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as said:
        patch.setattr(sys, "argv", [main.__module__, *arguments])
        try:
            main()
        except SystemExit as exit_:
            return said.getvalue(), exit_.code
    return said.getvalue(), None
