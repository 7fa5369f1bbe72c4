"""Memory that is freed and soon wanted again should stay with the process.

A forward pass over a long prompt makes and drops some ten megabytes of arrays a layer. glibc's malloc gives pieces of
that size back to the operating system, which makes every processor that runs a thread of ours forget them, and clears
them page by page when they are wanted again: 10 to 20% of a prefill on a virtual machine with two processors.
"""

import ctypes
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # as malloc.h numbers them; see `man mallopt`
KEPT = 64 << 20  # bytes that may lie unused
LARGEST = 32 << 20  # bytes of a piece that is kept; glibc allows no more


@cache
def keep_freed_memory() -> None:
    """Ask the C library to keep it, once. Only glibc has such a switch."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # none of that name, or no way to look: macOS, musl, Windows
        return
    mallopt(MMAP_THRESHOLD, LARGEST)
    mallopt(TRIM_THRESHOLD, KEPT)
