"""Keep freed memory in the process, for the arrays of the next layer.

A forward pass over a long prompt allocates and frees about ten megabytes of arrays in each layer. By default, glibc's
malloc returns allocations of that size to the operating system. Every processor that runs one of our threads then has
to drop its translations of those pages, and the system clears the pages one by one when they are allocated again. On a
virtual machine with two processors this is 10 to 20% of the time of a prefill.
"""

import ctypes
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # the numbers in malloc.h; see `man mallopt`
KEPT = 64 << 20  # bytes that may stay unused in the process
LARGEST = 32 << 20  # bytes of the largest allocation that is kept; glibc's own limit


@cache
def keep_freed_memory() -> None:
    """Tell the C library to keep freed memory, once per process. Only glibc has this setting."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no mallopt, or no way to look it up: macOS, musl, Windows
        return
    mallopt(MMAP_THRESHOLD, LARGEST)
    mallopt(TRIM_THRESHOLD, KEPT)
