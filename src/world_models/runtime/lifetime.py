"""What ends with a process, however it ends. Only Linux has the means."""

import ctypes
import fcntl
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread
from uuid import uuid4

assert sys.platform == "linux"

PR_SET_PDEATHSIG = 1
"""Of prctl: a signal that the kernel sends a process when its parent dies."""
MARK = "WORLD_MODELS_OF"
"""In the environment of all that comes of a process: which one that is."""
KILL_MARKED = """
{
  read nothing <&3
  sleep 1 # some tidy up by themselves
  {
    grep -ls "$0" /proc/[0-9]*/environ
    # Who writes a title over its environment has no mark any more, but files of a folder's open
    # to write to. Who only reads them may be anybody.
    for folder; do find /proc/[0-9]*/fd -perm -200 -lname "$folder/*" 2>/dev/null; done
  } | cut -d / -f 3 | sort -u | while read -r found; do kill -9 "$found"; done
  rm -rf -- "$@"
} &
"""
"""Waits for the end of an input, kills all processes with a mark or at work on a file in one of
some folders, and removes these.

In the background: it is nobody's child, which Ray kills as a worker ends.
"""


def die_with(process: int) -> None:
    """Has this process killed as soon as that one ends, however it ends; now, if it has ended."""
    if process == os.getppid():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if process != os.getppid():  # a shell lies between, or the parent died just now
        Thread(target=_die_after, args=(process,), daemon=True).start()


def _die_after(process: int) -> None:
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(process)], [], [])
    os.kill(os.getpid(), signal.SIGKILL)


def leave_nothing_behind(*folders: Path) -> None:
    """Has all that comes of this process from now on killed when it ends, however it ends.

    These folders are removed then. A game's engine that outlives who plays it waits for ever for
    the next step.
    """
    mark = uuid4().hex
    end, _never_closed = os.pipe()  # it ends when nobody can write any more: with this process
    null = os.open(os.devnull, os.O_RDWR)
    shell = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", KILL_MARKED, f"{MARK}={mark}", *map(os.path.realpath, folders)],
        # Without a mark itself: it has work to do after a parent's end, too, which kills this one.
        {name: value for name, value in os.environ.items() if name != MARK},
        file_actions=[(os.POSIX_SPAWN_DUP2, end, 3)]
        + [(os.POSIX_SPAWN_DUP2, null, usual) for usual in (0, 1, 2)],
        setsid=True,  # Ctrl-C is not for it
    )
    with suppress(ChildProcessError):  # who ignores SIGCHLD has no need to wait
        os.waitpid(shell, 0)
    os.close(end)
    os.close(null)
    os.environ[MARK] = mark


def end(process: int) -> None:
    """Kills a process, if it lives, and waits a few seconds until it is gone."""
    with suppress(ProcessLookupError):
        gone = os.pidfd_open(process)
        try:
            signal.pidfd_send_signal(gone, signal.SIGKILL)
            select.select([gone], [], [], 5)
        finally:
            os.close(gone)


def is_written(file: Path) -> bool:
    """Says whether any process may write to a file, by its descriptor or where it is mapped.

    The kernel gives no lease on such a file, whether or not its processes can be seen from here,
    and none on another user's.
    """
    descriptor = os.open(file, os.O_RDONLY)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return True
    finally:
        os.close(descriptor)  # and with it the lease
    return False
