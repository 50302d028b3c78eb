"""Where work runs: on which device, in how many threads, and what the machine is called."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PROCESSORS = Path("/proc/cpuinfo")
"""Where Linux says what they are called."""


def best_device() -> torch.device:
    """Returns the GPU where there is one, or else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cores(device: torch.device) -> int:
    """Returns how much can be done side by side: a thing a core, or one that has a GPU."""
    import torch

    return torch.get_num_threads() if device.type == "cpu" else 1


def machine() -> str:
    """Returns what this machine computes with: how many cores of what, and its GPU, if any."""
    import torch

    known = PROCESSORS.read_text(encoding="utf-8") if PROCESSORS.exists() else ""
    named = re.search(r"^model name\s*: (.+)$", known, re.MULTILINE)
    parts = [f"{os.cpu_count()} × {named[1] if named else platform.machine()}"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """In the block torch has one thread, where networks compute on the CPU.

    Their last bits hang on the number of threads, which differs from worker to worker.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1 if device.type == "cpu" else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
