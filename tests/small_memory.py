"""Python with a /dev/shm of its own, as in a container."""

import subprocess
import sys

import pytest

from tests.runtime.jobs import environment

MOUNT = """
import os, sys

def mount(size):
    if os.system(f"mount -t tmpfs -o size={size} tmpfs /dev/shm"):
        sys.exit("no mount")
"""
"""Gives a script a function that puts an empty /dev/shm of this size over the one before."""


def run(script: str) -> str:
    """Returns what a script writes that may mount; skips the test where none may."""
    alone = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c"]

    def start(script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*alone, MOUNT + script],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    if sys.platform != "linux" or start("mount('1m')").returncode:
        pytest.skip("a /dev/shm of one's own needs Linux, and root")
    done = start(script)
    assert done.returncode == 0, done.stderr
    return done.stdout
