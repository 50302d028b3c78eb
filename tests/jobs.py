"""Jobs for other processes, which can only be given what they can import."""

import os
import threading
from pathlib import Path


def square(number: int) -> int:
    return number * number


def process_and_threads(_: int) -> tuple[int, int]:
    import torch

    return os.getpid(), torch.get_num_threads()


def die(number: int) -> int:
    if number == 1:
        os._exit(9)
    return number


def refuse(number: int) -> int:
    if number == 1:
        raise ValueError(f"job {number} is wrong")
    return number


def wait_and_tidy(folder: Path) -> None:
    """Waits for ever, beside a file that goes away when the wait is ended in good order."""
    begun = folder / f"begun-{os.getpid()}"
    begun.touch()
    try:
        threading.Event().wait()
    finally:
        begun.rename(folder / f"tidied-{os.getpid()}")
