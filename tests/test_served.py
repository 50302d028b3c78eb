"""An agent as an MLflow model, loaded in a fresh process: it plays as the agent itself does."""

import json
import os
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from tests.agents import as_model, registering, write_agent
from world_models.agent import Agent
from world_models.tracking.client import existing_store
from world_models.tracking.embedded import default_uri
from world_models.tracking.registry import register
from world_models.worlds.games import open_lanes

STEPS = 200
"""All of an episode."""
PLAY = """
import json, sys
import mlflow.pyfunc, numpy as np
frames = np.load(sys.argv[2])
model = mlflow.pyfunc.load_model(sys.argv[1])
state = {"hidden": np.zeros((1, 8), np.float32), "cell": np.zeros((1, 8), np.float32)}
actions = []
for step, frame in enumerate(frames):
    params = {"seed": 5, "step": step}
    found = model.predict({"frame": frame[None], **state}, params=params)
    actions.append(found["action"][0].tolist())
    state = {name: found[name] for name in state}
json.dump(actions, open(sys.argv[3], "w"))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The folder of a store in which an agent for Pendulum is registered, and that agent."""
    folder = tmp_path_factory.mktemp("store")
    files = write_agent(folder / "agent")
    model = as_model("pendulum", files)
    with registering(folder, "pendulum") as run:
        pass
    client = existing_store(default_uri(folder))
    register(client, run.run_id, model, {"real/mean": 1.0}, {})
    client.set_registered_model_alias("world-models-pendulum", "champion", "1")
    return folder


def test_an_episode_played_through_it_has_the_agents_actions(store, tmp_path):
    """The frames are those of the agent's own episode; z is drawn, so the seed counts."""
    agent = Agent.from_pretrained(store / "agent")
    assert agent.controller.sizes.sampled
    frames, actions = [], []
    with closing(open_lanes(agent.task, 1, "gymnasium")) as lanes:
        world = agent.real_world(lanes)
        world.begin([5])
        for _ in range(STEPS):
            action = agent.controller.act(world.features())
            frames.append(world.frames[0].copy())
            actions.append(action[0].tolist())
            world.advance(action)
    np.save(tmp_path / "frames.npy", np.stack(frames))
    played = tmp_path / "actions.json"
    command = [sys.executable, "-c", PLAY, "models:/world-models-pendulum@champion"]
    allowed = {
        "MLFLOW_TRACKING_URI": default_uri(store),
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    subprocess.run(
        [*command, str(tmp_path / "frames.npy"), str(played)],
        check=True,
        env=os.environ | allowed,
        cwd=tmp_path,
    )
    np.testing.assert_allclose(json.loads(played.read_text()), actions, atol=1e-5)
    assert np.std(actions) > 0.01


def test_it_is_an_agent_again_by_its_version(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", default_uri(store))
    agent = Agent.from_pretrained("models:/world-models-pendulum/1")
    own = Agent.from_pretrained(store / "agent")
    assert agent.task.name == "pendulum"
    np.testing.assert_array_equal(agent.controller.parameters, own.controller.parameters)
