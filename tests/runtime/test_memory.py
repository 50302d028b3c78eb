"""What becomes of the memory that a process frees."""

import subprocess
import sys

from tests.runtime.jobs import environment

KEEPING = """
from resource import RUSAGE_SELF, getrusage
from world_models.runtime.memory import keep_freed_memory
keep_freed_memory()
for _ in range(11):
    layers = [b"x" * size for size in (20_000_000, 20_000_000, 40_000_000)]
    del layers
    print(getrusage(RUSAGE_SELF).ru_minflt)
"""


def test_memory_that_is_freed_is_not_fetched_again():
    command = [sys.executable, "-c", KEEPING]
    done = subprocess.run(command, env=environment(), capture_output=True, check=True)
    first, *_, last = map(int, done.stdout.split())
    assert last - first < 1000  # of 20,000 pages each time
