"""Engines that don't answer, that die, and what they leave in shared memory."""

import json
import signal
from threading import Timer

import numpy as np
import psutil
import pytest

from tests import small_memory
from tests.waiting import wait_for
from world_models.runtime.errors import WorldModelsError
from world_models.tasks import get_task
from world_models.worlds import engines
from world_models.worlds.games import open_lanes

TAKECOVER = get_task("takecover")


def running():
    """The engines of this process."""
    children = psutil.Process().children()
    return [one for one in children if one.name() == "vizdoom" and one.status() != "zombie"]


def mapped():
    """The engines' files in shared memory that this process uses."""
    maps = psutil.Process().memory_maps()
    return [one.path for one in maps if one.path.startswith("/dev/shm/ViZDoom")]


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def lanes(request):
    """Two games at play."""
    lanes = open_lanes(TAKECOVER, 2, threads=request.param)
    lanes.reset([1, 2])
    yield lanes
    lanes.close()
    assert running() == mapped() == []


def refused(lanes):
    with pytest.raises(WorldModelsError) as caught:
        lanes.step(np.arange(2), np.zeros((2, 1), np.float32))
    return str(caught.value)


def test_an_engine_that_does_not_answer_is_not_waited_for_for_ever(lanes, monkeypatch):
    monkeypatch.setattr(engines, "PATIENCE", 1)
    running()[0].send_signal(signal.SIGSTOP)
    assert refused(lanes) == "takecover: a game has not answered for 1 s"


def test_an_engine_does_not_feel_what_ends_its_player(lanes):
    """A terminal's Ctrl-C and Slurm's SIGTERM go to all processes: whose is it to end the game?"""
    for engine in running():
        engine.send_signal(signal.SIGINT)
        engine.send_signal(signal.SIGTERM)
    for _ in range(3):
        assert lanes.step(np.arange(2), np.zeros((2, 1), np.float32))[1].tolist() == [1, 1]


def test_an_engine_that_dies_is_one_line(lanes):
    running()[0].kill()
    assert refused(lanes) == "takecover: Unexpected ViZDoom instance crash."


@pytest.mark.parametrize("lanes", [2], ids=["two threads"], indirect=True)
def test_a_game_may_be_closed_after_another_has_died(lanes):
    """It is still at its step, in a thread of its own, when the other's fails."""
    died, slow = running()
    slow.send_signal(signal.SIGSTOP)
    died.kill()
    goes_on = Timer(1, slow.send_signal, [signal.SIGCONT])
    goes_on.start()
    assert refused(lanes) == "takecover: Unexpected ViZDoom instance crash."
    lanes.close()
    goes_on.join()


def test_a_game_that_does_not_start_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(engines, "PATIENCE", 0)
    with pytest.raises(WorldModelsError, match=r"^takecover: a game has not answered for 0 s$"):
        open_lanes(TAKECOVER, 1)
    wait_for(running)
    wait_for(lambda: not running())  # it has started after all, and is closed


ROOM_AND_RUBBISH = """
import json, subprocess, tempfile
from pathlib import Path
from world_models.runtime.errors import WorldModelsError
from world_models.tasks import get_task
from world_models.worlds.games import open_lanes

PLAY = '''
import gymnasium, time
name = "vizdoom.gymnasium_wrapper:VizdoomTakeCover-v1"
game = gymnasium.make(name, disable_env_checker=True)
game.reset(seed=1)
print("plays", flush=True)
time.sleep(600)
'''

def files():
    return {path.name for path in Path("/dev/shm").iterdir()}

def play(folder):
    before = files()
    command = [sys.executable, "-c", PLAY]
    player = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE)
    player.stdout.readline()
    return player, files() - before

def open_games(count):
    open_lanes(get_task("takecover"), count).close()

mount("64m")
with tempfile.TemporaryDirectory(prefix="world-models-") as folder:
    (dead, deads), (living, livings) = play(folder), play(folder)
    dead.kill()
    dead.wait()
    Path("/dev/shm/another's").touch()
    open_games(1)
    left = files()
    living.kill()
    living.wait()
    open_games(1)
    both = files()
mount("1m")
try:
    open_games(2)
except WorldModelsError as error:
    said = str(error)
figures = len(deads), len(livings), left == livings | {"another's"}
print(json.dumps([*figures, sorted(both), said]))
"""


def test_what_dead_players_leave_is_removed_and_too_little_room_is_one_line():
    """One process, as each has to import torch. The living player's engine stays at play."""
    *figures, said = json.loads(small_memory.run(ROOM_AND_RUBBISH))
    assert figures == [3, 3, True, ["another's"]]
    line = "takecover: /dev/shm has 1.00 MB left, and the games to open (2) want 1.52 MB; "
    assert said.startswith(line)
    assert "--shm-size" in said
