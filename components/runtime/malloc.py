"""How glibc treats freed memory, and in pages of which size Linux gives it."""

import ctypes

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # malloc.h
NEVER = -1
HEADROOM = 64 << 20
MADV_HUGEPAGE = 14  # mman.h
HUGE_PAGE = 2 << 20
HEAP = 4 << 30  # of addresses; memory is taken as it is written


def keep_freed_memory() -> bool:
    """Let this process keep what it frees for its next tensors, in large pages; whether the C library can.

    By default a large tensor goes back to the kernel when it is freed, and the next one is faulted in and zeroed page
    by page, which can cost a training step as much as its mathematics. What is kept goes back when the process ends.
    """
    try:
        libc = ctypes.CDLL(None)
        mallopt = libc.mallopt
    except (OSError, AttributeError):  # no glibc: Windows, macOS
        return False
    kept = all(mallopt(*option) == 1 for option in ((MMAP_MAX, 0), (TRIM_THRESHOLD, NEVER), (TOP_PAD, HEADROOM)))
    if kept:
        _prefer_large_pages(libc)
    return kept


def _prefer_large_pages(libc: ctypes.CDLL) -> None:
    """Advise the kernel to give the heap in pages of 2 MB, of which it looks up 512 times fewer.

    The heap keeps what is freed, and with it the advice. Without large pages, or without room for so many addresses,
    everything stays as it was.
    """
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    heap = libc.malloc(HEAP)
    if heap:
        first = -(-heap // HUGE_PAGE) * HUGE_PAGE
        libc.madvise(first, heap + HEAP - first, MADV_HUGEPAGE)
        libc.free(heap)
