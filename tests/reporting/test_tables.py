"""Tables that hold variants of C against each other, and against the paper's."""

import json

import pytest

from world_models.reporting.paper import BY_INPUTS, BY_TEMPERATURE
from world_models.reporting.tables import Row, markdown, read_summary, reported, series


def test_the_papers_figures_stand_beside_ours(tmp_path):
    own = {"mean": 800.0, "std": 300.0, "ci95": [740.0, 860.0]}
    (tmp_path / "scores.json").write_text(json.dumps({"dream": own, "real": own}))
    scores = read_summary(tmp_path / "scores.json")
    paper = reported(BY_TEMPERATURE["takecover"][1.15])
    assert paper["real"].ci95 == pytest.approx((1092 - 109, 1092 + 109), abs=0.1)
    head, _, row = markdown("tau", [Row("1.15", scores, paper)]).splitlines()
    assert "the paper's in the game" in head
    assert row.endswith("| 800 ± 300 [740, 860] | 918 ± 546 | 1092 ± 556 |")
    assert [one.label for one in series([Row("1.15", scores, paper)])] == [
        *("in the dream, here", "in the dream, paper"),
        *("in the game, here", "in the game, paper"),
    ]
    full = Row("full", scores, reported(BY_INPUTS["carracing"]["full"]), 867)
    assert markdown("C", [full]).splitlines()[2].startswith("| full | 867 | 800 ± 300 ")
    assert "paper's in the dream" not in markdown("C", [full])
