"""The committed scores: whole, better than chance, and what README says."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml

from world_models import cli
from world_models.evaluation.config import EvaluateConfig
from world_models.params import PARAMS, Params

ROOT = Path(__file__).parents[1]
AGENTS = {"carracing": "carracing-2", "takecover": "takecover"}
"""The round whose agent a game is played by."""
every_round = pytest.mark.parametrize("round_", ["carracing", *AGENTS.values()])


def report(round_, name):
    return json.loads((ROOT / "reports" / round_ / name).read_text())


@every_round
def test_reports_are_those_of_the_locked_run(round_):
    """git merges reports and dvc.lock apart from each other; a run writes them together."""
    stages = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    locked = {
        out["path"]: out["md5"]
        for name, stage in stages.items()
        if name.endswith(f"@{round_}")
        for out in stage["outs"]
        if out["path"].endswith((".json", ".csv")) and not out["path"].endswith("register.json")
    }
    assert len(locked) == 8  # a file that DVC does not know would go stale unseen
    for path, md5 in locked.items():
        assert hashlib.md5((ROOT / path).read_bytes()).hexdigest() == md5, path


@every_round
def test_the_agents_have_learned(round_):
    scores = report(round_, "scores.json")
    episodes = Params(ROOT / PARAMS, round_).section(EvaluateConfig).episodes
    assert episodes >= 100
    for kind in ("real", "dream", "random"):
        low, high = scores[kind]["ci95"]
        assert scores[kind]["episodes"] == episodes
        assert low <= scores[kind]["mean"] <= high
    assert scores["real"]["ci95"][0] > scores["random"]["ci95"][1]


TOO_KIND = pytest.mark.xfail(
    reason="this M is too kind to who stands still: 195 steps, 162 in the game (see the notebook)"
)
"""Strict, as all are here: an M that is within the fifth ends it."""


@pytest.mark.parametrize(
    ("round_", "policy"),  # of first rounds: an agent's data can't be played again
    [
        *(("carracing", "collection"), ("carracing", "still"), ("takecover", "collection")),
        pytest.param("takecover", "still", marks=TOO_KIND),
    ],
)
def test_dreams_are_true_to_the_game(round_, policy):
    """Survival of the collecting policy and of standing still, within a fifth."""
    assert report(round_, "fidelity.json")[f"{policy}_disagreement"] <= 0.2


@pytest.mark.parametrize(("task", "round_"), AGENTS.items())
def test_readme_shows_these_scores(task, round_):
    row = re.search(rf"^\| {task}, `small` \|(.*)$", (ROOT / "README.md").read_text(), re.M)
    shown = [float(number.replace("−", "-")) for number in re.findall(r"−?\d+", row[1])]
    scores = report(round_, "scores.json")
    real, dream, random = (scores[kind] for kind in ("real", "dream", "random"))
    expected = [real["mean"], real["std"], *real["ci95"]]
    expected += [dream["mean"], dream["std"], random["mean"], random["std"], random["episodes"]]
    assert shown[: len(expected)] == [round(number) for number in expected]


def test_the_gate_finds_these_scores_no_worse_than_the_baselines(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as exit_:
        cli.main(["gate", *AGENTS.values()])
    assert exit_.value.code == 0, capsys.readouterr().out
