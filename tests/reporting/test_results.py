"""The page of results says what the kept runs are, and which are missing."""

import json

import numpy as np
import pytest

from world_models.reporting.kept import kept_runs, ppo_runs
from world_models.reporting.results import landmarks, page, save_learning, save_returns
from world_models.runtime.errors import ScoresError


def keep(folder, round_, scale, seed, mean):
    """A kept run of 100 episodes, made up."""
    task, kept = round_.partition("-")[0], folder / scale / round_ / f"seed-{seed}"
    kept.mkdir(parents=True)
    returns = mean + 100 * np.random.default_rng(seed).standard_normal(100)
    score = {"mean": mean, "std": 100.0, "ci95": [mean - 20, mean + 20]}
    (kept / "scores.json").write_text(json.dumps({"real": score, "dream": score | {"mean": 400}}))
    rows = "".join(f"{number},{value}\n" for number, value in enumerate(returns))
    (kept / "returns.csv").write_text(f"seed,real\n{rows}")
    (kept / "generations.csv").write_text(
        "generation,steps,real_mean\n1,1000000,\n2,1000000,700\n3,3000000,800\n"
    )
    how = {"revision": "0123456789", "precision": "bfloat16", "machine": "2 × Abacus"}
    stages = {
        f"{name}@{round_}": {"seconds": seconds} | how
        for name, seconds in {"vae": 600, "controller": 1200}.items()
    }
    about = {"scale": scale, "task": task, "round": round_, "seed": seed, "stages": stages}
    (kept / "run.json").write_text(json.dumps(about))
    return kept


@pytest.fixture
def folder(tmp_path):
    for seed, mean in ((1, 800.0), (2, 900.0)):
        keep(tmp_path, "carracing-2", "full", seed, mean)
    keep(tmp_path, "takecover", "small", 1, 700.0)
    return tmp_path


@pytest.fixture
def ppo(folder):
    """PPO's scores, as its benchmark writes them."""
    kept = folder / "ppo" / "carracing"
    kept.mkdir(parents=True)
    score = {"mean": 512.3, "std": 200.0, "ci95": [470.0, 550.0], "episodes": 100}
    about = {"task": "carracing", "minutes": 45.0, "steps": 1_250_000, "real": score}
    (kept / "scores.json").write_text(json.dumps(about))
    return folder


def test_without_runs_the_page_says_what_is_missing(tmp_path):
    heading, _, *rows = page(kept_runs(tmp_path), ppo_runs(tmp_path)).splitlines()
    assert heading == "## Still to be run"
    assert rows[2:] == [
        "| carracing-2 at `full`, a seed each | 2 of 2 |",
        "| takecover at `full`, a seed each | 2 of 2 |",
        "| carracing-2 at `small`, a seed each | 3 of 3 |",
        "| takecover at `small`, a seed each | 3 of 3 |",
        "| C evolved in dreams of several temperatures (the paper's table 2): takecover | 1 of 1 |",
        "| C that sees less (the paper's table 1): carracing | 1 of 1 |",
        "| PPO: carracing | 1 of 1 |",
        "| PPO: takecover | 1 of 1 |",
    ]


def test_what_ppo_reaches_stands_beside_it(ppo):
    text = page(kept_runs(ppo), ppo_runs(ppo))
    assert "| carracing | 512 ± 200 [470, 550] | 100 | 45 | 1.2 |" in text
    assert "PPO: takecover" in text
    assert "PPO: carracing" not in text
    (ppo / "ppo" / "carracing" / "scores.json").write_text('{"task": "carracing"}')
    with pytest.raises(ScoresError, match=r"ppo/carracing/scores.json: damaged"):
        ppo_runs(ppo)


def test_the_page_has_every_run_and_their_mean_and_worst(folder):
    text = page(kept_runs(folder), [])
    assert "| takecover at `small`, a seed each | 2 of 3 |" in text
    assert "carracing-2 at `full`, a seed" not in text
    rows = [line for line in text.splitlines() if line.startswith("| full | carracing-2 | 1 |")]
    scored, taken = rows
    assert "| 800 ± 100 [780, 820] |" in scored
    assert "| 100 | 400 ± 100 | 0.50 | 30 | bfloat16 | 906 ± 21 | 012345678 |" in scored
    assert taken == "| full | carracing-2 | 1 | 10.0 | 20.0 | 30 | 2 × Abacus |"
    assert "| full | carracing-2 | 800, 900 | 850 | 800 |" in text
    assert "| 1092 ± 556; 946 by its agent today (1,220 episodes) |" in text


def test_sweeps_stand_under_the_run_that_they_were_made_with(folder):
    planned = "(the paper's table 2): takecover | 1 of 1 |"
    assert planned in page(kept_runs(folder), [])
    table = "| temperature | in the game |\n| --- | --- |\n| 1.15 | 700 ± 100 |\n"
    (folder / "small" / "takecover" / "seed-1" / "temperature.md").write_text(table)
    text = page(kept_runs(folder), [])
    assert f"table 2): takecover, small, seed 1\n\n{table}" in text
    assert planned not in text


def test_learning_is_held_against_the_papers_scores():
    assert [score for score, *_ in landmarks("takecover")] == [1092, 946]
    assert landmarks("pendulum") == []


def test_a_run_is_read_as_it_was_kept(folder):
    first, second, other = kept_runs(folder)
    assert [run.scores["real"].mean for run in (first, second, other)] == [800, 900, 700]
    assert first.steps.tolist() == [2e6, 5e6]
    assert first.validated.tolist() == [700, 800]
    assert first.minutes == 30


def test_pictures_show_both_games(folder, tmp_path):
    runs = kept_runs(folder)
    for name, save in (("learning", save_learning), ("returns", save_returns)):
        save(tmp_path / f"{name}.png", runs)
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        *(("run.json", text) for text in ("{", "{}", '{"stages": {}}', "\ufffd")),
        ("run.json", '{"scale": "full", "task": "t", "round": "r", "seed": 1, "stages": {}}'),
        *(("returns.csv", text) for text in ("seed\n1\n", "seed,real\n1,much\n")),
        *(("generations.csv", text) for text in ("generation\n1\n", "steps,real_mean\n1\n,5\n")),
        ("scores.json", '{"real": {}}'),
    ],
)
def test_what_is_damaged_is_named(folder, name, contents):
    (folder / "full" / "carracing-2" / "seed-1" / name).write_text(contents)
    with pytest.raises(ScoresError, match=rf"seed-1/{name}: damaged"):
        kept_runs(folder)


@pytest.mark.parametrize("name", ["run.json", "returns.csv", "generations.csv", "scores.json"])
def test_what_is_missing_is_named(folder, name):
    (folder / "full" / "carracing-2" / "seed-1" / name).unlink()
    with pytest.raises(ScoresError, match=rf"seed-1/{name}: missing"):
        kept_runs(folder)


def test_seeds_are_in_the_order_of_their_numbers(folder):
    keep(folder, "carracing-2", "full", 10, 850.0)
    assert [run.seed for run in kept_runs(folder)][:3] == [1, 2, 10]
