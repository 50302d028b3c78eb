"""What ends with a process, however it ends."""

import signal
import subprocess
import sys

import psutil
import pytest

from tests.runtime.jobs import environment
from tests.waiting import wait_for

CHILD = """
import subprocess, sys, time
from world_models.runtime.lifetime import die_with, leave_nothing_behind

leave_nothing_behind()
if len(sys.argv) > 1:
    die_with(int(sys.argv[1]))
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def start(script, *arguments, **how):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return psutil.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True, **how)


def test_what_comes_of_a_process_dies_with_it():
    process = start(CHILD)
    child = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.communicate()
    wait_for(lambda: not child.is_running())


MARKED = """
import subprocess, sys
from world_models.runtime.lifetime import leave_nothing_behind

leave_nothing_behind()
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""


def test_and_so_does_what_comes_of_a_child_that_leaves_nothing_behind_itself():
    process = start(MARKED, CHILD)
    grandchild = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.communicate()
    wait_for(lambda: not grandchild.is_running())


HIDDEN = """
import subprocess, sys, time
from pathlib import Path
from world_models.runtime.lifetime import leave_nothing_behind

folder = Path(sys.argv[1])
leave_nothing_behind(folder)
with open(folder / "log", "w") as log:
    child = subprocess.Popen(["sleep", "600"], env={}, stdout=log, start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_who_has_no_mark_is_known_by_the_file_that_it_writes_and_a_reader_is_spared(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    process = start(HIDDEN, tmp_path / "link")
    child = psutil.Process(int(process.stdout.readline()))
    with (
        open(tmp_path / "real" / "log") as read,
        subprocess.Popen(["sleep", "600"], stdin=read) as reader,
    ):
        process.kill()
        process.communicate()
        wait_for(lambda: not (tmp_path / "real").exists())
        assert reader.poll() is None
        reader.kill()
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
