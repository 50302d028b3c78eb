"""Jobs about files, for workers that can't see this machine's: the files travel with them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from world_models.runtime.files import atomic_write


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
