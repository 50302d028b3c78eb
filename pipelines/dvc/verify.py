"""Are a stage's inputs still what the stages before it wrote?

DVC takes a file whose size and time of change are as they were for the same file, so what a failing
disk does to it goes unseen. Here the bytes are read.
"""

import hashlib
import os
from pathlib import Path

from pipelines.dvc.lineage import input_files
from world_models.runtime.errors import DamagedError


def verify_inputs(name: str) -> None:
    """Hashes the data and models that a stage, `rnn@carracing`, reads; about 0.6 GB a second.

    Raises DamagedError with the first file that is another than DVC knows. Its copy in the cache is
    looked at too: it may be the same file, linked.
    """
    for path, (md5, cached) in input_files(name).items():
        if path.startswith(("data/", "models/")) and _md5(path) != md5:
            damaged = [path]
            if os.path.exists(cached) and _md5(cached) != md5:
                damaged.append(os.path.relpath(cached))
            raise DamagedError(
                f"{path}: damaged: not what was written; remove what is damaged with "
                f"`rm -f {' '.join(damaged)}`, then `dvc repro` brings it back"
            )


def _md5(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
