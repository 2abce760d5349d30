"""How glibc treats freed memory."""

import ctypes

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # malloc.h
NEVER = -1
HEADROOM = 64 << 20


def keep_freed_memory() -> bool:
    """Let this process keep what it frees for its next tensors; whether the C library can.

    By default a large tensor goes back to the kernel when it is freed, and the next one is faulted in and zeroed page
    by page, which can cost a training step as much as its mathematics. What is kept goes back when the process ends.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # no glibc: Windows, macOS
        return False
    return all(mallopt(*option) == 1 for option in ((MMAP_MAX, 0), (TRIM_THRESHOLD, NEVER), (TOP_PAD, HEADROOM)))
