"""Jobs for other processes, which can only be given what they can import."""

import multiprocessing
import os
import signal
import subprocess
import threading
from pathlib import Path

from world_models.runtime.worker import exit_after

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """What such a process runs in: these jobs can be imported, and the package beside them."""
    return os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}


def square(number: int) -> int:
    return number * number


def square_process_and_threads(number: int) -> tuple[int, int, int]:
    import torch

    return number * number, os.getpid(), torch.get_num_threads()


def die(number: int) -> int:
    if number == 1:
        os._exit(9)
    return number


def die_and_leave_a_child(file: Path) -> None:
    """As a game's engine, the child inherits what may be inherited; the file gets its number."""
    child = subprocess.Popen(["sleep", "600"], close_fds=False)
    file.write_text(str(child.pid))
    os._exit(9)


def die_beside_a_deaf_one(folder: Path) -> None:
    """The first one to come waits for ever, deaf to SIGTERM as games are that use SDL."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        (folder / "first").mkdir()
    except FileExistsError:
        os._exit(9)
    threading.Event().wait()


def refuse_beside_a_deaf_one(folder: Path) -> None:
    """The first one to come waits for ever, deaf to Ctrl-C."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        (folder / "first").mkdir()
    except FileExistsError:
        raise ValueError("I was second") from None
    threading.Event().wait()


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


def exit_with_parent() -> None:
    """Says its number, and waits for ever, or until its parent has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=exit_after, args=(parent,), daemon=True).start()
    print(os.getpid(), flush=True)
    threading.Event().wait()
