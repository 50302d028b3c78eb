"""The agents that come with the package."""

from contextlib import closing
from pathlib import Path

import pytest

from world_models.agent import Agent
from world_models.controller.checkpoint import load_controllers
from world_models.data.seeds import VALIDATE
from world_models.pretrained import PACKAGED, SUMS, packaged, pretrained_names, sums
from world_models.worlds.games import open_lanes
from world_models.worlds.rollout import play

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("task", pretrained_names())
def test_an_agent_is_whole_and_the_one_that_rounds_depend_on(task):
    assert Agent.from_pretrained(task).task.name == task
    assert (PACKAGED / task / "card.md").exists()
    assert (ROOT / SUMS / f"{task}.sha256").read_text() == sums(task)


def test_takecovers_agent_has_two_cs_to_cheat_with():
    """Bred in its own M's dreams, of which one is nearly certain."""
    files = packaged("takecover").agent
    rnn = Agent.from_pretrained("takecover").rnn
    bred = {name: load_controllers(file, rnn).sizes for name, file in files.bred.items()}
    assert {name: sizes.temperature for name, sizes in bred.items()} == {
        "tau-0.1": 0.1,
        "tau-1.15": 1.15,
    }


def test_pendulums_agent_swings_it_up():
    agent = Agent.from_pretrained("pendulum")
    with closing(open_lanes(agent.task, 8, "gymnasium")) as lanes:
        played = play(agent.real_world(lanes), agent.controller.act, VALIDATE[:8])
    assert played.returns.mean() > -450  # at random it is about -1,200
