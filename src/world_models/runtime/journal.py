"""A journal: finished pieces of work, one line each, that outlive a kill and a power cut."""

import json
import os
from pathlib import Path
from typing import Any
from zlib import crc32

from world_models.runtime.files import synchronize


class Journal:
    """Records in a file, in order: whatever JSON can hold, floats to the last bit."""

    def __init__(self, path: Path) -> None:
        """Reads what is there. A line that is cut short or damaged goes away, and all after it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self.records: list[Any] = []
        whole = 0
        with path.open("a+b") as file:
            file.seek(0)
            for line in file:
                if not _is_whole(line):
                    break
                self.records.append(json.loads(line[9:]))
                whole += len(line)
            file.truncate(whole)
        synchronize(path.parent)

    def append(self, record: Any) -> None:
        """Adds a record; once this returns it is on the disk."""
        text = json.dumps(record).encode()
        with self._path.open("ab") as file:
            file.write(b"%08x %s\n" % (crc32(text), text))
            file.flush()
            os.fsync(file.fileno())
        self.records.append(record)


def _is_whole(line: bytes) -> bool:
    return line.endswith(b"\n") and line[:9] == b"%08x " % crc32(line[9:-1])
