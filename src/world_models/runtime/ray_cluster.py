"""Which Ray there is to work on: a cluster's, or one of our own on this machine."""

import logging
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from world_models.runtime.errors import ExtraError, WorldModelsError, one_line

ON_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's own switch: 0 has all of a Ray listen on 127.0.0.1 and nowhere else, and look there."""
LOOPBACK = "127.0.0.1:", "localhost:"
TRY_S = 10
"""Seconds in which a cluster has to take a connection; Ray itself would try for minutes."""


def connect(address: str | None, cpus: int) -> None:
    """Connects this process to the cluster at an address, unless it has a Ray already.

    Without an address it starts a Ray of so many workers on this machine, for this process alone:
    on the loopback interface, without a dashboard. It ends with the process, and on Linux its
    files do too, also by a kill.
    Raises ExtraError where Ray isn't installed, and WorldModelsError where it doesn't start or no
    cluster answers.
    """
    if address is None or address.startswith(LOOPBACK):
        os.environ.setdefault(ON_LOOPBACK, "0")  # before the import, which reads it
    try:
        import ray
    except ModuleNotFoundError:
        raise ExtraError("executor: ray", "ray") from None
    if ray.is_initialized():
        return
    if address is not None and not _answers(address):
        raise WorldModelsError(f"RAY_ADDRESS: no Ray cluster answers at {address}")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        if address is None:
            options |= {"num_cpus": cpus, "num_gpus": 0, "include_dashboard": False}
            ray.init("local", _temp_dir=_folder(), **options)
        else:
            ray.init(address, **options)
    except Exception as error:  # Ray has no class of its own for what doesn't start
        raise WorldModelsError(f"Ray: {one_line(error)}") from error
    finally:
        signal.signal(signal.SIGTERM, on_term)  # Ray has set its own


def _folder() -> str:
    """Makes a folder for a Ray's files; on Linux it goes when this process ends, after Ray's."""
    # A short name, since a socket's path has 107 bytes at most, of which Ray itself takes 65.
    folder = tempfile.mkdtemp(prefix="ray-", dir=os.environ.get("RAY_TMPDIR"))
    if sys.platform == "linux":
        from world_models.runtime.lifetime import leave_nothing_behind

        leave_nothing_behind(Path(folder))
    return folder


def _answers(address: str) -> bool:
    """Whether anything listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), TRY_S).close()
    except (OSError, ValueError):
        return False
    return True
