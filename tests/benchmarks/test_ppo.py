"""PPO plays the same games as our agents: what it sees, what it earns, when an episode ends."""

import csv
import json
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from gymnasium.spaces import Box

from benchmarks.ppo import ZOO, Games, lean, pedals
from tests.counting import ends_by_itself, expected_length, reward_of
from world_models.data.seeds import TEST
from world_models.tasks import get_task

AS_THEY_ARE = replace(
    ZOO["carracing"], actions=Box(-1, 1, (1,), np.float32), to_ours=lambda actions: actions, skip=2
)


def test_games_skip_frames_add_up_rewards_and_begin_anew(counting):
    with closing(Games(counting, AS_THEY_ARE, "gymnasium", [3, 5])) as games:
        begun = games.reset()
        assert begun.shape == (2, 64, 64, 1)
        length, played, earned = expected_length(5), 0, []
        while True:
            frames, rewards, done, infos = games.step(np.full((2, 1), 0.5))
            earned.append(rewards[1])
            played += 2
            if done[1]:
                break
        assert played - length in (0, 1)
        assert sum(earned) == pytest.approx(sum(reward_of(step) for step in range(length)))
        assert infos[1]["TimeLimit.truncated"] == (not ends_by_itself(5))
        assert (infos[1]["terminal_observation"] != frames[1]).any()


def test_actions_are_the_games_own():
    task, mine = get_task("carracing"), np.array([[0.3, 0.2, 0.9], [-1, 1, 0]], np.float32)
    np.testing.assert_allclose(task.to_env(pedals(mine)), mine, atol=1e-6)
    own = np.array([0, 1, 2])
    np.testing.assert_array_equal(get_task("takecover").to_env(lean(own)), own)


def test_a_training_of_seconds_is_scored_by_the_protocol(tmp_path):
    command = [sys.executable, "-m", "benchmarks.ppo", "takecover", "--minutes", "0.05"]
    subprocess.run([*command, "--episodes", "2", "--output", str(tmp_path)], check=True)
    scores = json.loads((tmp_path / "takecover" / "scores.json").read_text())
    assert scores["real"]["episodes"] == 2
    assert scores["steps"] > 0
    with (tmp_path / "takecover" / "returns.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["seed"]) for row in rows] == list(TEST[:2])
    assert min(float(row["real"]) for row in rows) > 50
