"""An agent as it is given to others: exported, released into the package, and played from there."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file

from tests.projects import change_parameters, commit, dvc, enter, run, status
from tests.stages import refused_here, said_here
from world_models import cli, pretrained
from world_models.agent import Agent
from world_models.data.store import EpisodeStore
from world_models.evaluation.statistics import summary

PARTS = ("vae", "rnn", "controller", "starts")
PACKAGE = ("src", "world_models", "pretrained")
"""Where the project's own package has its agents."""


@pytest.fixture(scope="module")
def project(copy):
    """One whose agent is exported."""
    project = copy()
    change_parameters(project, "export", {"rounds": ["pendulum"]})
    commit(project, "Export")
    dvc(project, "repro", "export")
    return project


@pytest.fixture(scope="module")
def exported(project):
    return project / "exports" / "pendulum"


@pytest.fixture
def inside(project, monkeypatch):
    """Has a test run in the project, whose own package has its agents."""
    enter(project, monkeypatch)
    monkeypatch.setattr(pretrained, "PACKAGED", project.joinpath(*PACKAGE))


def test_its_files_hold_half_of_each_number(project, exported):
    whole = project / "models" / "pendulum"
    for part in PARTS:
        halves, full = (load_file(at / f"{part}.safetensors") for at in (exported, whole))
        assert halves.keys() == full.keys()
        for name, half in halves.items():
            assert half.dtype == torch.float16
            torch.testing.assert_close(half, full[name].half(), rtol=0, atol=0)


def test_it_is_whole_and_says_which_game_it_plays(exported):
    agent = Agent.from_pretrained(exported)
    assert agent.task.name == "pendulum"
    assert agent.starts.dtype == agent.controller.parameters.dtype == torch.float32


def test_its_card_has_the_scores_of_these_very_files(inside, exported):
    card, scores = (exported / name for name in ("card.md", "scores.json"))
    text, measured = card.read_text(), json.loads(scores.read_text())
    for name, world in (("the game", "real"), ("the dream", "dream")):
        row = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
        low, high = measured[world]["ci95"]
        mean, std = measured[world]["mean"], measured[world]["std"]
        assert row == f"| {name} | {mean:.0f} ± {std:.0f} [{low:.0f}, {high:.0f}] | 10 |"
    played = ("--models", str(exported), "--episodes", "10", "--workers", "1")
    again = json.loads(said_here(cli.main, "evaluate", "pendulum", *played))
    assert again["mean"] == pytest.approx(measured["real"]["mean"], abs=0.02)


def test_its_card_says_what_it_was_made_of(project, exported):
    text = (exported / "card.md").read_text()
    revision = run(project, "git", "rev-parse", "HEAD").stdout.strip()
    assert f"| revision | {revision} |" in text
    assert re.search(r"\| data \| [\d,]+ steps of \d+ episodes: \d+ by held \|", text)
    assert "    batches:" not in text  # one level: a section and its values
    assert re.search(r"^vae:\n(  .*\n)*  batches: \d+$", text, re.MULTILINE)
    assert text.startswith("---\nlicense: mit\n")


@pytest.fixture(scope="module")
def released(project, exported):
    """The project whose package has the agent, with a C that was bred in its dreams."""
    swept = project / "sweeps" / "pendulum" / "temperature" / "own-0.1"
    swept.mkdir(parents=True)
    shutil.copy(project / "models" / "pendulum" / "controller.safetensors", swept)
    package = project.joinpath(*PACKAGE, "pendulum")
    shutil.rmtree(package, ignore_errors=True)
    assert run(project, "world-models", "release", "pendulum").stdout.strip() == str(package)
    return package


def test_released_it_comes_with_the_package(released, exported, inside):
    assert sorted(file.name for file in released.iterdir()) == sorted(
        ["card.md", "controllers", *(f"{part}.safetensors" for part in PARTS)]
    )
    bred = released / "controllers" / "tau-0.1.safetensors"
    own = released / "controller.safetensors"
    assert bred.read_bytes() == own.read_bytes()  # it is the same C, in half precision
    command = ("evaluate", "pendulum", "--pretrained", "--episodes", "2", "--workers", "1")
    found = json.loads(said_here(cli.main, *command))
    returns = (exported / "returns.csv").read_text().splitlines()[1:3]
    own = torch.tensor([float(row.split(",")[1]) for row in returns]).numpy()
    assert found["mean"] == pytest.approx(summary(own)["mean"], abs=0.02)


def test_what_does_not_come_with_the_package_is_named(inside, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "PACKAGED", tmp_path)
    assert "pendulum: no agent" in refused_here(cli.main, "evaluate", "pendulum", "--pretrained")


def test_a_round_goes_on_from_the_agent_of_the_package(project, exported, released):
    later = {"task": "pendulum", "after": "pretrained", "settings": "pendulum.later"}
    change_parameters(project, "rounds", {"onward": later})
    dvc(project, "repro", "rnn@onward")
    assert {at.policy for at in EpisodeStore(project / "data/onward/episodes").episodes()} <= {
        "agent",
        "neighbour",
    }
    for part in ("vae", "starts"):  # V is not trained on, but the first frames are others
        whole, half = (
            load_file(at / f"{part}.safetensors") for at in (project / "models/onward", exported)
        )
        same = all(torch.equal(whole[name], half[name].float()) for name in half)
        assert same == (part == "vae")
    after = [f"{stage}@onward" for stage in ("collect", "vae", "encode", "rnn")]
    assert status(project, *after) == {}
    sums = project / "models" / "pretrained" / "pendulum.sha256"
    sums.write_text(sums.read_text().replace("0", "1"))  # another agent is released
    assert sorted(status(project, *after)) == sorted(after)


def test_what_is_not_exported_can_not_be_released(inside):
    said = refused_here(cli.main, "release", "takecover")
    assert said.startswith("world-models: exports/takecover/controller.safetensors: missing")
