"""What becomes of the memory that a process frees."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""glibc's numbers for two options of malloc."""
NEVER, NONE = -1, 0
"""What they are set to: when memory is given back, and how many blocks are mapped by themselves."""


def keep_freed_memory() -> None:
    """Has this process keep what it frees, where malloc is glibc's.

    What a network's layer frees may otherwise go back to the system, to be fetched again page by
    page at the next batch. Whether it does hangs on what the process has allocated before, and a
    block of 32 MB or more always does. Processes that it starts don't inherit this.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, NEVER)
        mallopt(M_MMAP_MAX, NONE)
