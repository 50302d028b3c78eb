"""Work spread over processes: the same results, and no hanging."""

import contextlib
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import torch

from tests.jobs import die, die_and_leave_a_child, process_and_threads, refuse, square
from tests.waiting import wait_for
from world_models.errors import WorldModelsError
from world_models.execution.crew import Crew, run_jobs

ROOT = Path(__file__).parents[1]

WAIT = """
import sys
from pathlib import Path
from tests.jobs import wait_and_tidy
from world_models.execution.crew import run_jobs

if __name__ == "__main__":
    try:
        list(run_jobs(wait_and_tidy, [Path(sys.argv[1])] * 8, workers=2))
    except KeyboardInterrupt:
        sys.exit(130)
"""

STARTING = """
import os, signal, sys
from multiprocessing import util
from pathlib import Path
from tests.jobs import wait_and_tidy
from world_models.execution.crew import run_jobs

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
from tests.jobs import die_beside_a_deaf_one
from world_models.execution.crew import run_jobs

if __name__ == "__main__":
    list(run_jobs(die_beside_a_deaf_one, [Path(sys.argv[1])] * 3, workers=2))
"""


@pytest.mark.parametrize(("workers", "jobs"), [(1, [3, 1, 2]), (9, [3, 1])])
def test_every_job_is_done_once_whoever_does_it(workers, jobs):
    expected = {number: job * job for number, job in enumerate(jobs)}
    assert dict(run_jobs(square, jobs, workers)) == expected


def test_no_jobs_are_done_at_once():
    assert list(run_jobs(square, [], workers=2)) == []


def test_one_worker_is_this_process_and_several_are_others_that_share_the_cores():
    ((_, (process, _)),) = run_jobs(process_and_threads, [0], workers=1)
    assert process == os.getpid()
    found = [result for _, result in run_jobs(process_and_threads, range(2), workers=2)]
    assert os.getpid() not in {process for process, _ in found}
    assert {threads for _, threads in found} == {max(1, torch.get_num_threads() // 2)}


def test_a_worker_that_dies_is_an_error_not_a_hang():
    with pytest.raises(WorldModelsError, match="a worker process died"):
        list(run_jobs(die, [0, 1, 2, 3], workers=2))


def test_a_worker_that_dies_is_missed_also_where_its_child_lives_on(tmp_path):
    jobs = [tmp_path / name for name in ("one", "other")]
    try:
        with pytest.raises(WorldModelsError, match="a worker process died"):
            list(run_jobs(die_and_leave_a_child, jobs, workers=2))
    finally:
        for written in tmp_path.iterdir():
            os.kill(int(written.read_text()), signal.SIGKILL)


def test_a_crew_that_an_error_has_ended_says_so():
    with closing(Crew(2)) as crew:
        with pytest.raises(ValueError, match="job 1 is wrong"):
            list(crew.run(refuse, [0, 1, 2]))
        with pytest.raises(RuntimeError, match="an error has ended this crew"):
            list(crew.run(square, [1, 2]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_a_worker_starts_ends_it_too(number, tmp_path):
    """The process spawns its second worker, and is sent the signal before that has returned."""
    script = tmp_path / "start.py"
    script.write_text(STARTING)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(int(number))],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
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
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert "a worker process died" in done.stderr


CHILD = """
import subprocess, sys, time
from world_models.execution.endings import die_with, leave_nothing_behind

leave_nothing_behind()
if len(sys.argv) > 1:
    die_with(int(sys.argv[1]))
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def start(script, *arguments, **how):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return psutil.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **how)


def test_what_comes_of_a_process_dies_with_it():
    process = start(CHILD)
    child = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.communicate()
    wait_for(lambda: not child.is_running())


PARENT = """
import os, subprocess, sys

command = f'{sys.executable} -c "$0" {os.getpid()}'
subprocess.run(["sh", "-c", command + sys.argv[2], sys.argv[1]])
"""


@pytest.mark.parametrize("more", ["", "; true"])
def test_a_process_dies_with_the_one_that_it_is_told(more):
    """Its parent, or one further up: a shell with more to do stays between them."""
    process = start(PARENT, CHILD, more)
    child = psutil.Process(int(process.stdout.readline()))
    descendants = process.children(recursive=True)
    assert child in descendants
    process.kill()
    process.communicate()
    # The shell itself has nothing to do with it, and waits for its command.
    wait_for(lambda: not any(one.is_running() for one in descendants))


def test_a_process_that_is_told_to_die_with_one_that_is_gone_dies():
    gone = start("")
    gone.communicate()
    process = start(CHILD, gone.pid)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


STILLBORN = """
import os
from multiprocessing import util
from tests.jobs import square
from world_models.execution.crew import run_jobs
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
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "dead at once\n[(0, 1), (1, 4), (2, 9)]\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_jobs_error_is_the_callers(workers):
    with pytest.raises(ValueError, match="job 1 is wrong"):
        list(run_jobs(refuse, [0, 1, 2, 3], workers))


@pytest.mark.parametrize("whole_group", [True, False])
def test_ctrl_c_ends_all_workers_at_once_and_in_good_order(tmp_path, whole_group):
    """A terminal interrupts the whole group of processes; `kill` this one alone."""
    script = tmp_path / "wait.py"
    script.write_text(WAIT)
    folder = tmp_path / "signs"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
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


KEEPING = """
from resource import RUSAGE_SELF, getrusage
from world_models.execution.memory import keep_freed_memory
keep_freed_memory()
for _ in range(11):
    layers = [b"x" * 20_000_000 for _ in range(3)]
    del layers
    print(getrusage(RUSAGE_SELF).ru_minflt)
"""


def test_memory_that_is_freed_is_not_fetched_again():
    done = subprocess.run([sys.executable, "-c", KEEPING], capture_output=True, check=True)
    first, *_, last = map(int, done.stdout.split())
    assert last - first < 1000  # of 15,000 pages each time
