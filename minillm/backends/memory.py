"""Keep freed memory in the process, for the arrays of the next layer.

A forward pass over a long prompt allocates and frees about ten megabytes of arrays in each layer. By default, glibc's
malloc returns allocations of that size to the operating system. Every processor that runs one of our threads then has
to drop its translations of those pages, and the system clears the pages one by one when they are allocated again. On a
virtual machine with two processors this is 10 to 20% of the time of a prefill.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import cast

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # the numbers in malloc.h; see `man mallopt`
KEPT = 64 << 20  # bytes that may stay unused in the process
LARGEST = 32 << 20  # bytes of the largest allocation that is kept; glibc's own limit


@cache
def keep_freed_memory() -> None:
    """Tell the C library to keep freed memory, once per process. Only glibc has this setting."""
    if mallopt := _in_c_library("mallopt"):
        mallopt(MMAP_THRESHOLD, LARGEST)
        mallopt(TRIM_THRESHOLD, KEPT)


def return_freed_memory() -> None:
    """Return freed memory to the operating system, once, without changing a setting: loading leaves up to 20 MB."""
    if malloc_trim := _in_c_library("malloc_trim"):
        malloc_trim(0)


def _in_c_library(name: str) -> Callable[..., int] | None:
    """Return a function of glibc; None if there is no such function, or no way to look it up: macOS, musl, Windows."""
    try:
        return cast(Callable[..., int], getattr(ctypes.CDLL(None), name))
    except (AttributeError, OSError, TypeError):
        return None
