"""The gate: what it lets pass, what it stops, and how often it errs."""

import json
from pathlib import Path

import numpy as np
import pytest

from world_models import cli
from world_models import gate as rules
from world_models.evaluation import statistics
from world_models.gate import Baseline, Scores, Verdict, bounds, judge, usual_tolerance
from world_models.runtime.errors import ScoresError

PROTOCOL = {"scale": "small", "environment": "CarRacing-v3", "time_limit": 1000}
EPISODES = 100
TRACKS = 150.0
"""Standard deviation of the luck that all agents share on a track."""
LUCK = 160.0
"""Of the luck that each has for itself."""


def drawn(random, mean, episodes=EPISODES, tracks=None):
    """Returns of an agent: some of the luck is the track's."""
    tracks = random.normal(0, TRACKS, episodes) if tracks is None else tracks
    returns = mean + tracks + random.normal(0, LUCK, episodes)
    return Scores(PROTOCOL, dict(enumerate(returns.tolist(), start=3_000_000)))


def rate_of(verdict, change, tolerance, simulations=300):
    """How often scores whose true mean differs by `change` get this verdict."""
    random, found = np.random.default_rng(1), 0
    for _ in range(simulations):
        tracks = random.normal(0, TRACKS, EPISODES)
        before, after = (drawn(random, mean, tracks=tracks) for mean in (700, 700 + change))
        found += judge(Baseline(before, tolerance), after).verdict is verdict
    return found / simulations


@pytest.fixture(scope="module", autouse=True)
def fewer_resamples():
    """As many as a simulation of many gates can afford; quantiles of 5% are the same to 0.3 s.e."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 1000)
        yield


def test_an_equal_agent_hardly_ever_raises_an_alarm():
    tolerance = usual_tolerance(drawn(np.random.default_rng(0), 700))
    assert 90 < tolerance < 120
    assert rate_of(Verdict.WORSE, 0, tolerance) < 0.01
    assert rate_of(Verdict.NO_WORSE, 0, tolerance) > 0.99


def test_a_fall_by_just_the_tolerance_raises_an_alarm_in_5_percent_of_cases():
    assert 0.02 < rate_of(Verdict.WORSE, -100, 100) < 0.09


def test_a_fall_by_twice_the_tolerance_is_hardly_ever_missed():
    assert rate_of(Verdict.WORSE, -200, 100) > 0.98


def test_without_pairs_the_same_fall_would_be_missed_more_often():
    """Luck that the track gives to both agents does not count: that is what pairs are for."""
    random = np.random.default_rng(2)
    tracks = random.normal(0, 5 * TRACKS, EPISODES)
    before, after = (drawn(random, mean, tracks=tracks) for mean in (700, 550))
    assert judge(Baseline(before, 60), after).verdict is Verdict.WORSE
    shuffled = list(after.returns.values())
    random.shuffle(shuffled)
    unpaired = Scores(PROTOCOL, dict(zip(after.returns, shuffled, strict=True)))
    assert judge(Baseline(before, 60), unpaired).verdict is Verdict.UNCLEAR


def test_a_better_agent_passes():
    random = np.random.default_rng(3)
    judgement = judge(Baseline(drawn(random, 400), 100), drawn(random, 800))
    assert judgement.verdict is Verdict.NO_WORSE
    assert judgement.low < judgement.now - judgement.was < judgement.high
    assert judgement.reason == "not worse by more than 100"


def test_bounds_hold_the_mean_of_the_changes_and_are_the_same_each_time():
    changes = np.random.default_rng(4).normal(5, 10, 400)
    low, high = bounds(changes)
    assert low < changes.mean() < high
    assert high - low == pytest.approx(2 * 1.645 * 10 / 20, rel=0.15)
    assert bounds(changes) == (low, high)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scale": "smoke"}, "other scale: smoke, and the baseline's is small"),
        ({"time_limit": 500}, "other time limit: 500, and the baseline's is 1000"),
        ({"simulator": "envpool"}, "other simulator: envpool, and the baseline's is unknown"),
    ],
)
def test_another_protocol_can_not_be_compared(change, reason):
    before = drawn(np.random.default_rng(5), 700)
    judgement = judge(Baseline(before, 100), Scores(PROTOCOL | change, before.returns))
    assert (judgement.verdict, judgement.reason) == (Verdict.UNCLEAR, reason)


def test_other_seeds_can_not_be_compared():
    before, after = (drawn(np.random.default_rng(6), 700, count) for count in (30, 28))
    judgement = judge(Baseline(before, 100), after)
    assert judgement.verdict is Verdict.UNCLEAR
    assert (
        judgement.reason == "other seeds: 2 of the baseline's 30 were not played, and 0 others were"
    )


def test_too_few_episodes_are_named_with_how_many_it_takes():
    random = np.random.default_rng(7)
    judgement = judge(Baseline(drawn(random, 700, 12), 50), drawn(random, 700, 12))
    assert judgement.verdict is Verdict.UNCLEAR
    assert judgement.reason.startswith("too few episodes: 12 tell the change to within ")
    assert 60 < int(judgement.reason.split()[-1]) < 200
    one = drawn(random, 700, 1)
    assert judge(Baseline(one, 50), one).reason == "too few episodes: 1; 10 are the least"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with scores of one task, which a test rewrites by `project(mean)`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("rounds: {carracing: {}, takecover: {}}")

    def write(mean, **protocol):
        folder = tmp_path / "reports" / "carracing"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scores.json").write_text(json.dumps({"protocol": PROTOCOL | protocol}))
        returns = drawn(np.random.default_rng(8), mean).returns
        rows = [f"{seed},{value},0" for seed, value in returns.items()]
        (folder / "returns.csv").write_text("\n".join(["seed,real,dream", *rows]))

    write(700)
    return write


def gate(*arguments):
    """The exit code of the command."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["gate", *arguments])
    return caught.value.code


def test_scores_become_the_baseline_and_a_drop_is_stopped(project, tmp_path, capsys):
    assert gate("carracing", "--update") == 0
    written = json.loads((tmp_path / "baselines" / "carracing.json").read_text())
    assert written["protocol"] == PROTOCOL
    assert len(written["returns"]) == EPISODES
    assert 90 < written["tolerance"] < 120
    capsys.readouterr()
    assert gate("carracing") == 0
    assert "| carracing | 7" in capsys.readouterr().out
    project(400)
    assert gate("carracing") == 1
    assert "| **worse**: worse by more than " in capsys.readouterr().out


def test_an_updated_baseline_keeps_its_tolerance_unless_another_is_given(project, tmp_path):
    def tolerance():
        return json.loads((tmp_path / "baselines" / "carracing.json").read_text())["tolerance"]

    gate("carracing", "--update", "--tolerance", "70")
    project(500)
    gate("carracing", "--update")
    assert tolerance() == 70
    gate("carracing", "--update", "--tolerance", "80.5")
    assert tolerance() == 80.5


def test_an_agent_that_always_plays_to_the_limit_can_be_a_baseline(project, tmp_path):
    rows = "".join(f"{seed},2100,0\n" for seed in range(EPISODES))
    (tmp_path / "reports" / "carracing" / "returns.csv").write_text(f"seed,real,dream\n{rows}")
    assert gate("carracing", "--update") == 0
    assert gate("carracing") == 0


@pytest.mark.parametrize("rows", [0, 1, 9])
def test_too_few_episodes_are_no_baseline(project, tmp_path, rows):
    lines = ["seed,real,dream", *(f"{seed},700,0" for seed in range(rows))]
    (tmp_path / "reports" / "carracing" / "returns.csv").write_text("\n".join(lines))
    said = f"evaluate.episodes: too few episodes: {rows}; 10 are the least for a baseline"
    assert gate("carracing", "--update") == f"world-models: {said}"
    assert not (tmp_path / "baselines").exists()


def test_what_is_missing_or_damaged_can_not_be_told_and_says_its_remedy(project, tmp_path, capsys):
    assert gate("carracing") == 2
    said = "baselines/carracing.json: missing; `world-models gate carracing --update` makes it"
    assert f"| can't tell: {said} |" in capsys.readouterr().out
    gate("carracing", "--update")
    (tmp_path / "reports" / "carracing" / "returns.csv").write_text("seed,dream\n1,2\n")
    assert gate("carracing") == 2
    again = "`dvc repro --force --single-item evaluate@carracing` makes it again"
    said = f"reports/carracing/returns.csv: damaged (KeyError 'real'); {again}"
    assert said in capsys.readouterr().out
    (tmp_path / "reports" / "carracing" / "scores.json").write_text('{"real": 1}')
    assert gate("carracing") == 2
    said = f"reports/carracing/scores.json: damaged (KeyError 'protocol'); {again}"
    assert said in capsys.readouterr().out


def test_a_baseline_elsewhere_has_a_remedy_of_its_own_which_works(project, capsys):
    assert gate("carracing", "--baselines", "baselines/smoke") == 2
    said = capsys.readouterr().out
    command = "gate carracing --update --baselines baselines/smoke"
    assert f"; `world-models {command}` makes it" in said
    assert gate(*command.split()[1:]) == 0
    assert gate("carracing", "--baselines", "baselines/smoke") == 0


def test_a_damaged_baseline_is_replaced_by_one_with_another_tolerance(project, tmp_path, capsys):
    """Its own can't be read, and the usual one might be another."""
    path = tmp_path / "baselines" / "carracing.json"
    path.parent.mkdir()
    path.write_text("[]")
    assert gate("carracing") == 2
    command = "`world-models gate carracing --update --tolerance POINTS` makes it"
    line = capsys.readouterr().out
    assert "can't tell: baselines/carracing.json: damaged (TypeError " in line
    assert command in line
    said = gate("carracing", "--update")
    assert said.startswith("world-models: baselines/carracing.json: damaged (TypeError ")
    assert said.endswith(command)
    assert path.read_text() == "[]"
    assert gate("carracing", "--update", "--tolerance", "70") == 0


def test_what_can_not_be_told_is_an_error_with_its_file(project, tmp_path):
    with pytest.raises(ScoresError) as caught:
        rules.gate(Path("reports"), Path("baselines"), "carracing")
    assert (caught.value.path, caught.value.fault) == (Path("baselines/carracing.json"), "missing")
    rules.update(Path("reports"), Path("baselines"), "carracing", None)
    judgement = rules.gate(Path("reports"), Path("baselines"), "carracing")
    assert (judgement.verdict, judgement.low, judgement.high) == (Verdict.NO_WORSE, 0, 0)
    (tmp_path / "reports" / "carracing" / "returns.csv").unlink()
    with pytest.raises(ScoresError) as caught:
        rules.gate(Path("reports"), Path("baselines"), "carracing")
    assert caught.value.path == Path("reports/carracing/returns.csv")


def test_nothing_is_updated_without_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = gate("carracing", "--update")
    missing = "world-models: reports/carracing/scores.json: missing; "
    remedy = "`dvc repro evaluate@carracing` makes it"
    assert said == f"{missing}with carracing added to rounds in params.yaml, {remedy}"
    (tmp_path / "params.yaml").write_text("rounds: {carracing: {}}")
    assert gate("carracing", "--update") == missing + remedy
    assert not (tmp_path / "baselines").exists()


def test_one_task_that_is_worse_outweighs_one_that_can_not_be_told(project):
    gate("carracing", "--update")
    project(300)
    assert gate("takecover", "carracing") == 1
    project(700)
    assert gate("takecover", "carracing") == 2


@pytest.mark.parametrize("tolerance", ["0", "-1", "nan", "inf", "wide"])
def test_a_tolerance_is_a_number_over_zero(project, tolerance):
    assert gate("carracing", "--update", "--tolerance", tolerance) == 2


@pytest.mark.parametrize(
    "contents",
    [
        [],
        {"protocol": PROTOCOL, "returns": [], "tolerance": 1},
        {"protocol": PROTOCOL, "returns": {"1": float("nan")}, "tolerance": 1},
        {"protocol": PROTOCOL, "returns": {"1": 2.0}, "tolerance": -1},
        {"protocol": "small", "returns": {"1": 2.0}, "tolerance": 1},
    ],
)
def test_a_damaged_baseline_is_named(tmp_path, contents):
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(contents))
    with pytest.raises(ScoresError, match=r"baseline\.json: damaged ") as caught:
        rules.read_baseline(path)
    assert caught.value.path == path
