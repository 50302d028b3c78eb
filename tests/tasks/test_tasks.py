"""Tasks: their registry, and what an action means in each."""

import pickle
import subprocess
import sys
from contextlib import closing

import gymnasium
import numpy as np
import pytest
import torch

from world_models import tasks
from world_models.tasks import get_task, task_names


def test_unknown_task_is_one_clear_line_with_the_known_ones():
    with pytest.raises(ValueError, match=r"^unknown task 'pong'; known tasks: ") as caught:
        get_task("pong")
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in task_names())


@pytest.mark.parametrize("name", task_names())
def test_a_task_is_found_by_its_name_and_can_be_sent_to_another_process(name):
    task = get_task(name)
    assert task.name == name
    assert pickle.loads(pickle.dumps(task)) == task


@pytest.mark.parametrize(
    "text", ["", "TASK = None", "from world_models.tasks.pendulum import TASK"]
)
def test_a_module_whose_task_is_missing_or_of_another_name_is_refused(monkeypatch, tmp_path, text):
    """Under another's name its data would replace the other's."""
    (tmp_path / "lander.py").write_text(text)
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    with pytest.raises(ValueError, match=r"^tasks/lander\.py: needs a TASK with name='lander'$"):
        get_task("lander")
    sys.modules.pop("world_models.tasks.lander")


LANDER = """
from dataclasses import replace

from world_models.tasks.pendulum import TASK

TASK = replace(TASK, name="lander", to_env=lambda actions: actions)
"""


def test_a_task_that_workers_can_not_be_sent_is_refused_at_once(monkeypatch, tmp_path):
    """Else it would be after all trainings, when the first worlds are opened."""
    (tmp_path / "lander.py").write_text(LANDER)
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    with pytest.raises(ValueError, match=r"^tasks/lander\.py: TASK can't be sent to a worker: "):
        get_task("lander")
    sys.modules.pop("world_models.tasks.lander")


def test_carracing_actions_follow_the_authors_code():
    actions = np.array([[-1, -1, -1], [0.25, 0, 0.5], [1, 1, 1]], np.float32)
    expected = np.array([[-1, 0, 0], [0.25, 0.5, 0.5], [1, 1, 1]], np.float32)
    task = get_task("carracing")
    np.testing.assert_array_equal(task.to_env(actions), expected)
    np.testing.assert_array_equal(task.to_model(actions), expected)
    assert task.to_env(actions).dtype == np.float32


def test_takecover_actions_are_thresholded_for_the_game_and_raw_for_the_model():
    actions = np.array([[-1], [-0.34], [-0.33], [0], [0.33], [0.34], [1]], np.float32)
    task = get_task("takecover")
    np.testing.assert_array_equal(task.to_env(actions), [2, 2, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(task.to_model(actions), actions)


def test_pendulum_torque_is_scaled_for_the_game_and_raw_for_the_model():
    actions = np.array([[-1], [0.5]], np.float32)
    task = get_task("pendulum")
    np.testing.assert_array_equal(task.to_env(actions), [[-2], [1]])
    np.testing.assert_array_equal(task.to_model(actions), actions)


def test_undrawn_pendulum_is_the_same_game_and_all_is_black():
    task = get_task("pendulum")
    episodes = []
    for each in (task, task.undrawn()):
        with closing(gymnasium.make(each.env_id, **each.env_kwargs)) as game:
            steps = [game.reset(seed=1)[0].tolist()]
            steps += [[*step[0].tolist(), *step[1:4]] for step in map(game.step, [[1.5]] * 200)]
            episodes.append((steps, game.render()))
    (drawn, picture), (undrawn, black) = episodes
    assert drawn == undrawn
    assert drawn[-1][-1]  # to the end
    assert picture.any()
    assert (black.shape, black.dtype) == (picture.shape, picture.dtype)
    assert not black.any()


@pytest.mark.parametrize("name", task_names())
def test_actions_of_any_leading_shape_map_alike_in_numpy_and_torch(name):
    task = get_task(name)
    actions = np.random.default_rng(0).uniform(-1, 1, (2, 3, task.action_size)).astype(np.float32)
    before = actions.copy()
    mapped = task.to_model(torch.from_numpy(actions))
    assert isinstance(mapped, torch.Tensor)
    np.testing.assert_array_equal(mapped.numpy(), task.to_model(actions))
    assert task.to_env(actions).shape[:2] == (2, 3)
    np.testing.assert_array_equal(actions, before, "an action was changed in place")


def test_importing_tasks_is_light():
    heavy = "{'torch', 'gymnasium', 'vizdoom', 'envpool'}"
    check = "import sys; sys.argv[0] = 'bin/world-models'; import world_models.tasks; "
    check += f"assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
