"""Settings of glibc's allocator and of Linux huge pages for faster training steps."""

import ctypes

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # malloc.h
NEVER = -1
HEADROOM = 64 << 20
MADV_HUGEPAGE = 14  # mman.h
HUGE_PAGE = 2 << 20
HEAP = 4 << 30  # address space; memory is committed when it is written


def keep_freed_memory() -> bool:
    """Keep freed memory in this process for later tensors, in huge pages; False if the C library cannot.

    By default glibc returns a large tensor to the kernel when it is freed, and the next one is faulted in and zeroed
    page by page. This can take as long as the arithmetic of a training step. The memory is released when the process
    ends.
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
    """Advise the kernel to use pages of 2 MB for the heap, which needs 512 times fewer pages.

    The heap keeps freed memory and thus the advice. Without huge pages or enough address space, nothing changes.
    """
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    heap = libc.malloc(HEAP)
    if heap:
        first = -(-heap // HUGE_PAGE) * HUGE_PAGE
        libc.madvise(first, heap + HEAP - first, MADV_HUGEPAGE)
        libc.free(heap)
