"""Threads: how many there are to use, and a product that several of them share.

The libraries read their number of threads from the environment when they are imported; minillm reads the same
variables.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from minillm.arrays import Array, Float

VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def default_threads() -> int:
    """What the environment says already, else one for each processor that this process may use."""
    said = (os.environ.get(name, "") for name in VARIABLES)
    numbers = [int(text) for text in said if text.isdecimal() and int(text)]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return numbers[0] if numbers else usable


def environment_for(threads: int) -> dict[str, str]:
    """This process's environment, with the number of threads for every library."""
    return os.environ | dict.fromkeys(VARIABLES, str(threads))


def shared_matmul(
    a: Float[Array, "*_ n k"], b: Float[Array, "stack *_ k m"], out: Float[Array, "stack *_ n m"]
) -> None:
    """np.matmul of one matrix with a stack of others, each thread with a part of the stack.

    NumPy lets go of Python's lock while it multiplies, so Python's own threads are enough.
    """
    threads = default_threads()
    first, *others = [slice(len(b) * n // threads, len(b) * (n + 1) // threads) for n in range(threads)]
    waiting = [_pool().submit(np.matmul, a, b[part], out=out[part]) for part in others]
    np.matmul(a, b[first], out=out[first])
    for one in waiting:
        one.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, default_threads() - 1), thread_name_prefix="share")


if hasattr(os, "register_at_fork"):  # a child process has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
