"""Rates and ratios, and the table that they make."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from benchmarks import networks
from benchmarks.__main__ import main
from benchmarks.measure import Effort, Work, compare, quickest

ONCE = Effort(seconds=0, rounds=1)


@dataclass
class Steady:
    """Its rates, one after the other; the first is of warming up."""

    rates: list[float]

    def rate(self, seconds):
        """The next of them."""
        return self.rates.pop(0)


def test_a_rate_counts_units_and_leaves_preparing_out():
    prepared = []
    work = Work(lambda: time.sleep(0.02) or 3, lambda: prepared.append(time.sleep(0.1)))
    assert 30 < work.rate(0.05) <= 150
    assert 1 < len(prepared) <= 3  # once for each piece


def test_parts_one_after_the_other_allow_less_than_either():
    measured = compare(Steady([0, 2]), [Steady([0, 4]), Steady([0, 12])], ONCE)
    assert measured == (2, 3, pytest.approx(2 / 3), None)


def test_the_ratio_is_that_of_the_middle_round():
    """A round in which the machine was slow changes both rates, and no ratio."""
    path, part = Steady([0, 10, 1, 12]), Steady([0, 20, 2, 20])
    assert compare(path, [part], Effort(0, 3)).ratio == pytest.approx(0.5)


def test_the_quickest_is_the_one_with_the_best_turn():
    """A turn in which the machine was slow counts for nothing."""
    choices = {"slow": Steady([0, 5, 5, 6]), "quick": Steady([0, 8, 2, 1])}
    assert quickest(choices, 0) == "quick"


def test_a_precision_is_chosen_by_its_rate_where_there_are_two(monkeypatch):
    rates = {"32-true": 5.0, "bf16-true": 8.0}
    asked = []

    def work(name, count, precision):
        asked.append((name, count, precision))
        return Steady([0, *[rates[precision]] * 3])

    monkeypatch.setattr(networks, "has_bfloat16", lambda: False)
    assert networks.best_precision(work, "carracing", 4) == "32-true"
    assert asked == [("carracing", 4, "32-true")]
    monkeypatch.setattr(networks, "has_bfloat16", lambda: True)
    assert networks.best_precision(work, "carracing", 5) == "bf16-true"
    rates["32-true"] = 9.0  # a processor that emulates bfloat16
    assert networks.best_precision(work, "carracing", 6) == "32-true"


def test_a_row_that_there_is_not_is_named(monkeypatch, tmp_path):
    path = tmp_path / "bench.json"
    monkeypatch.setattr(sys, "argv", ["bench", "world-models", "no such", "--output", str(path)])
    with pytest.raises(SystemExit, match=r"^bench: no row's path holds 'no such'$"):
        main()
    assert not path.exists()


def test_the_table_is_printed_and_written(tmp_path):
    path = tmp_path / "reports" / "bench.json"
    command = [sys.executable, "-m", "benchmarks", "world-models"]
    command += ["--seconds", "0", "--rounds", "1", "--output", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(path.read_text())["rows"]
    assert row["path"] == "world-models --help"
    assert row["ratio"] == pytest.approx(row["rate"] / row["reference"])
    assert row["precision"] is None
    assert row["reached"] == (row["ratio"] >= 1)
    assert f"{row['ratio']:.2f}" in done.stdout
