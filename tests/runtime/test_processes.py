"""Work spread over processes: the same results, and no hanging."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import closing

import psutil
import pytest
import torch

from tests import small_memory
from tests.runtime.jobs import (
    die_and_leave_a_child,
    environment,
    refuse,
    refuse_beside_a_deaf_one,
    run_jobs,
    square,
    square_process_and_threads,
)
from tests.waiting import wait_for
from world_models.runtime import processes
from world_models.runtime.errors import WorldModelsError
from world_models.runtime.processes import WorkerPool

WAIT = """
import sys
from pathlib import Path
from tests.runtime.jobs import run_jobs, wait_and_tidy

if __name__ == "__main__":
    try:
        list(run_jobs(wait_and_tidy, [Path(sys.argv[1])] * 8, workers=2))
    except KeyboardInterrupt:
        sys.exit(130)
"""

ELSEWHERE = """
import multiprocessing, threading
from tests.runtime.jobs import exit_with_parent

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=exit_with_parent).start()
    threading.Event().wait()
"""

STARTING = """
import os, signal, sys
from multiprocessing import util
from pathlib import Path
from tests.runtime.jobs import run_jobs, wait_and_tidy

begin, spawned = util.spawnv_passfds, []
def interrupted(path, arguments, descriptors):
    spawned.append(begin(path, arguments, descriptors))
    if len(spawned) == 3:  # the first is Python's resource tracker
        os.kill(os.getpid(), int(sys.argv[2]))
    return spawned[-1]
util.spawnv_passfds = interrupted

def stop(*_):
    raise KeyboardInterrupt

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    try:
        list(run_jobs(wait_and_tidy, [Path(sys.argv[1])] * 8, workers=2))
    except KeyboardInterrupt:
        sys.exit(130)
"""

BESIDE_A_DEAF_ONE = """
import sys
from pathlib import Path
from tests.runtime.jobs import die_beside_a_deaf_one, run_jobs

if __name__ == "__main__":
    list(run_jobs(die_beside_a_deaf_one, [Path(sys.argv[1])] * 3, workers=2))
"""


def test_one_worker_is_this_process():
    done = dict(run_jobs(square_process_and_threads, [3, 1, 2], workers=1))
    threads = torch.get_num_threads()
    assert done == {n: (s, os.getpid(), threads) for n, s in enumerate([9, 1, 4])}


def test_several_are_others_of_one_thread_and_no_more_than_there_are_jobs():
    done = dict(run_jobs(square_process_and_threads, [3, 1], workers=9))
    squares, processes, threads = zip(*(done[number] for number in range(2)), strict=True)
    assert squares == (9, 1)
    assert os.getpid() not in processes
    assert set(threads) == {1}


def test_no_jobs_are_done_at_once():
    assert list(run_jobs(square, [], workers=2)) == []


def test_a_worker_that_dies_is_an_error_not_a_hang_also_where_its_child_lives_on(tmp_path):
    jobs = [tmp_path / name for name in ("one", "other")]
    try:
        with pytest.raises(WorldModelsError, match="a worker process died"):
            list(run_jobs(die_and_leave_a_child, jobs, workers=2))
    finally:
        # The worker beside the first to die may be stopped with its file still empty.
        for child in filter(None, (written.read_text() for written in tmp_path.iterdir())):
            os.kill(int(child), signal.SIGKILL)


def test_a_jobs_error_is_the_callers():
    with pytest.raises(ValueError, match="job 1 is wrong"):
        list(run_jobs(refuse, [0, 1, 2, 3], workers=1))


def test_so_it_is_from_another_process_and_the_pool_that_it_has_ended_says_so():
    with closing(WorkerPool(2)) as pool:
        with pytest.raises(ValueError, match="job 1 is wrong"):
            list(pool.run(refuse, [0, 1, 2, 3]))
        with pytest.raises(RuntimeError, match="an error has ended this pool"):
            list(pool.run(square, [1, 2]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_a_worker_starts_ends_it_too(number, tmp_path):
    """The process spawns its second worker, and is sent the signal before that has returned."""
    script = tmp_path / "start.py"
    script.write_text(STARTING)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(int(number))],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (130, "")
    assert not list(tmp_path.glob("begun-*"))


def test_the_others_end_with_a_worker_that_dies_whatever_signals_they_are_deaf_to(tmp_path):
    command = [sys.executable, "-c", BESIDE_A_DEAF_ONE, str(tmp_path)]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert "a worker process died" in done.stderr


def test_a_worker_that_does_not_end_is_waited_for_only_so_long(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", 0.5)
    with pytest.raises(ValueError, match="I was second"), closing(WorkerPool(2)) as pool:
        list(pool.run(refuse_beside_a_deaf_one, [tmp_path] * 2))
    assert not [child for child in multiprocessing.active_children() if child.is_alive()]


NO_ROOM_FOR_LOCKS = """
mount("4k")
open("/dev/shm/full", "wb").write(bytes(4096))
from tests.runtime.jobs import run_jobs, square
from world_models.runtime.errors import WorldModelsError
try:
    list(run_jobs(square, [1, 2], 2))
except WorldModelsError as error:
    print(error)
"""


def test_where_there_is_no_room_for_locks_it_is_said_where():
    said = small_memory.run(NO_ROOM_FOR_LOCKS)
    assert said == "/dev/shm is full: no room for the locks that worker processes share\n"


STILLBORN = """
import os
from multiprocessing import util
from tests.runtime.jobs import run_jobs, square
begin = util.spawnv_passfds
def stillborn(path, arguments, descriptors):
    util.spawnv_passfds = begin
    os.waitpid(dead := begin(b"/bin/false", [b"false"], ()), 0)
    print("dead at once")
    return dead
util.spawnv_passfds = stillborn
if __name__ == "__main__":
    print(sorted(run_jobs(square, [1, 2, 3], 2)))
"""


def test_a_resource_tracker_that_is_dead_at_once_is_replaced():
    done = subprocess.run(
        [sys.executable, "-c", STILLBORN],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "dead at once\n[(0, 1), (1, 4), (2, 9)]\n"


@pytest.mark.parametrize("whole_group", [True, False])
def test_ctrl_c_ends_all_workers_at_once_and_in_good_order(tmp_path, whole_group):
    """A terminal interrupts the whole group of processes; `kill` this one alone."""
    script = tmp_path / "wait.py"
    script.write_text(WAIT)
    folder = tmp_path / "signs"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            wait_for(lambda: len(list(folder.glob("begun-*"))) == 2)
            (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert errors == ""
    assert len(list(folder.glob("tidied-*"))) == 2
    assert not list(folder.glob("begun-*"))


def test_where_no_kernel_sees_to_it_a_worker_ends_with_its_parent_too(tmp_path):
    script = tmp_path / "elsewhere.py"
    script.write_text(ELSEWHERE)
    command = [sys.executable, str(script)]
    process = psutil.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.communicate()
    wait_for(lambda: not child.is_running())
