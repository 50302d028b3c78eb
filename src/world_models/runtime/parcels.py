"""Jobs about files, several workers at one of them, perhaps: whether these share the files or not.

Where they can't see this machine's, the files travel with the jobs.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self
from uuid import uuid4

from world_models.runtime.files import atomic_write

ATTEMPT = ".part-attempt-"
"""How a folder is called that one worker writes a shared file in, beside the file's place."""


@dataclass(frozen=True)
class FileJob:
    """A job that writes a file, and may read one."""

    path: Path
    """The file that it writes."""
    source: Path | None = field(default=None, kw_only=True)
    """The file that it reads."""

    def absolute(self) -> Self:
        """Returns the same for a process in another folder."""
        return replace(
            self, path=self.path.absolute(), source=self.source and self.source.absolute()
        )


@dataclass(frozen=True)
class Parcel:
    """A job, or its result, with a file."""

    content: Any
    file: bytes | None


def pack(job: FileJob) -> Parcel:
    """Returns a job with what it reads."""
    return Parcel(job, job.source.read_bytes() if job.source else None)


def unpack(job: FileJob, parcel: Parcel) -> Any:
    """Writes a job's file, and returns the job's result."""
    assert parcel.file is not None
    with atomic_write(job.path) as aside:
        aside.write_bytes(parcel.file)
    return parcel.content


@dataclass(frozen=True)
class ParcelWork:
    """Work on jobs that come with what they read, in a folder that is gone when it is done."""

    work: Callable[[Any], Any]

    @property
    def name(self) -> str | None:
        """The name of the handler that does it, if one does."""
        return getattr(self.work, "name", None)

    def __call__(self, parcel: Parcel) -> Parcel:
        """Does a job; returns its result, and the file that it has written."""
        job: FileJob = parcel.content
        with TemporaryDirectory(prefix="parcel-") as folder:
            here = replace(job, path=Path(folder, "written", job.path.name))
            if parcel.file is not None and job.source is not None:
                here = replace(here, source=Path(folder, job.source.name))
                Path(folder, job.source.name).write_bytes(parcel.file)
            result = self.work(here)
            return Parcel(result, here.path.read_bytes())


@dataclass(frozen=True)
class SharedWork:
    """Work on jobs whose files all can see: what it writes has a name of its own.

    So two workers may be at the same job. Who gave it to them decides whose file it is to be.
    """

    work: Callable[[Any], Any]

    @property
    def name(self) -> str | None:
        """The name of the handler that does it, if one does."""
        return getattr(self.work, "name", None)

    def __call__(self, job: FileJob) -> tuple[Any, Path]:
        """Does a job; returns its result, and where the file is that it has written."""
        folder = job.path.with_name(f"{ATTEMPT}{uuid4().hex}")
        here = replace(job, path=folder / job.path.name)
        return self.work(here), here.path


def put_in_place(job: FileJob, written: Path) -> None:
    """Gives a job's file its name."""
    with atomic_write(job.path) as aside:
        os.replace(written, aside)
    shutil.rmtree(written.parent, ignore_errors=True)


def remove_attempts(jobs: Sequence[FileJob]) -> None:
    """Removes what was written in vain for any of these jobs: nobody is at one any more."""
    for folder in {job.path.parent for job in jobs}:
        for attempt in folder.glob(f"{ATTEMPT}*"):
            shutil.rmtree(attempt, ignore_errors=True)
