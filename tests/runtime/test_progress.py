"""How far long work is."""

import re

import pytest

from world_models.runtime import progress
from world_models.runtime.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """Give a function that lets time pass."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_a_log_gets_a_plain_line_now_and_then_with_rate_and_time_left(clock, capsys):
    with Progress("vae", 100, "batches") as work:
        for _ in range(50):
            clock(1)
            work.advance(figures={"loss": 12.34567})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0] == "vae: 15/100 batches, 1/s, 01:25 left; loss 12.35"
    assert lines[2].startswith("vae: 45/100 batches")


def test_the_last_line_says_that_all_is_done(clock, capsys):
    with Progress("collect", 3, "episodes") as work:
        clock(2)
        work.advance(2)
        work.advance()
    assert capsys.readouterr().err == "collect: 3/3 episodes, 1.5/s, 00:00 left\n"


def test_what_was_done_before_counts_but_not_towards_the_rate(clock, capsys):
    with Progress("vae", 100, "batches", done=60) as work:
        for _ in range(40):
            clock(1)
            work.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "vae: 75/100 batches, 1/s, 00:25 left"
    assert lines[-1].startswith("vae: 100/100 batches, 1/s")


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with Progress("vae", 4, "batches") as work:
        work.advance(4, figures={"loss": 0.5})
    shown = capsys.readouterr().err
    assert re.search(r"vae: +100%.*4/4 .*batches/s", shown)
    assert "loss=0.5" in shown


def test_work_that_fails_says_nothing_more(clock, capsys):
    with pytest.raises(KeyboardInterrupt), Progress("vae", 10, "batches") as work:  # noqa: PT012
        work.advance()
        raise KeyboardInterrupt
    assert capsys.readouterr().err == ""
