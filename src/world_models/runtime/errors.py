"""The errors that a user can fix: each message is one line that names the thing and its fault."""

import errno
import re
from pathlib import Path

DISTRIBUTION = "world-models-vmc"
"""What this package is called where it is installed from."""
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
"""Faults of an OSError that a user can fix, and whose message names the file."""


def one_line(said: object) -> str:
    """Returns what something says in one line, as messages are."""
    return " ".join(str(said).split())


def without_passwords(text: str) -> str:
    """Returns a text whose addresses have lost what they say of who logs in, and how."""
    return re.sub(r"(?<=://)(?!/)[^\s@]*@(?:[^/\s]*@)?", "", text)


class WorldModelsError(Exception):
    """Something outside the code is wrong: a parameter, a file, a training that diverged."""


class ConfigError(WorldModelsError, ValueError):
    """A parameter is unknown, missing or out of range."""


class ExtraError(WorldModelsError):
    """A library is missing that an extra of this package brings."""

    def __init__(self, what: str, extra: str) -> None:
        """Says what needs which extra."""
        super().__init__(what, extra)
        self.what, self.extra = what, extra

    def __str__(self) -> str:
        return f"{self.what} needs an extra: pip install '{DISTRIBUTION}[{self.extra}]'"


class FileError(WorldModelsError):
    """A file is missing, damaged or does not fit.

    What to do about it depends on which stage makes the file: whoever knows that adds it.
    """

    def __init__(self, path: str | Path, fault: str) -> None:
        super().__init__(path, fault)
        self.path, self.fault = Path(path), fault

    def __str__(self) -> str:
        return f"{self.path}: {self.fault}"


class CheckpointError(FileError):
    """A checkpoint is missing, damaged or made with other sizes."""


class StoreError(FileError):
    """A data set or one of its shards is missing, damaged or of another kind."""


class TooFewError(WorldModelsError):
    """A data set is whole, and too small for what it is wanted for."""


class DamagedError(WorldModelsError):
    """A file has changed since the stage that makes it wrote it."""


class ScoresError(FileError):
    """Scores or their baseline are missing or damaged."""


class TrackingError(WorldModelsError):
    """MLflow does not have what was asked for."""

    def __init__(self, message: str) -> None:
        super().__init__(without_passwords(message))


class DivergedError(WorldModelsError):
    """A loss is no longer finite."""
