"""What a failing disk does."""

import os
from pathlib import Path


def flip_a_bit(path: Path, place: int, bit: int = 0) -> None:
    """Changes a file where it lies; neither its size nor its time of change tells."""
    before, contents = path.stat(), bytearray(path.read_bytes())
    contents[place] ^= 1 << bit
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(contents)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
