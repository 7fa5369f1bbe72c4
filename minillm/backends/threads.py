"""Threads: how many there are to use, work that they share, and a product that they share.

The libraries read their number of threads from the environment when they are imported; minillm reads the same
variables.
"""

import os
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from queue import SimpleQueue
from threading import Thread

import numpy as np

from minillm.arrays import Array, Float

PARTS = 2  # of a shared product for each thread
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


def thread_count() -> int:
    """How many threads there are to share work, this one included."""
    return _waiting_threads()[0]


def share(work: Callable[[int], None], count: int) -> None:
    """work(0), work(1) and so on, where each thread takes the next when it is free.

    As many as there are threads may wait for each other. NumPy lets go of Python's lock while it computes, so Python's
    own threads are enough.

    Raises:
        the first exception that one of them raised, when all are done.
    """
    threads, inbox = _waiting_threads()
    left, problems = deque(range(count)), SimpleQueue[BaseException | None]()  # one entry for each that is done
    take_all = partial(_take_all, work, left, problems)
    for _ in range(min(threads, count) - 1):
        inbox.put(take_all)
    take_all()
    found = [problem for problem in (problems.get() for _ in range(count)) if problem]
    if found:
        raise found[0]


def _take_all(work: Callable[[int], None], left: deque[int], problems: "SimpleQueue[BaseException | None]") -> None:
    while True:
        try:
            number = left.popleft()
        except IndexError:  # all are taken
            return
        try:
            work(number)
            problems.put(None)
        except BaseException as problem:  # no memory, say, or Ctrl-C: whoever waits for the outcome has to hear of it
            problems.put(problem)


def shared_matmul(
    a: Float[Array, "*_ n k"], b: Float[Array, "stack *_ k m"], out: Float[Array, "stack *_ n m"]
) -> None:
    """np.matmul of one matrix with a stack of others, in parts.

    A sleeping thread takes a while to wake, as long as a part or two of a small product: so there are more parts than
    threads.
    """
    count = PARTS * thread_count()

    def multiply(number: int) -> None:
        part = slice(len(b) * number // count, len(b) * (number + 1) // count)
        np.matmul(a, b[part], out=out[part])

    share(multiply, count)


@cache
def _waiting_threads() -> tuple[int, "SimpleQueue[Callable[[], None]]"]:
    """How many threads there are, and where all but this one, which start here, wait for something to do."""
    threads, inbox = default_threads(), SimpleQueue[Callable[[], None]]()

    def help_out() -> None:
        while True:
            inbox.get()()

    for number in range(1, threads):
        Thread(target=help_out, name=f"share {number}", daemon=True).start()
    return threads, inbox


if hasattr(os, "register_at_fork"):  # a child process has none of its parent's threads
    os.register_at_fork(after_in_child=_waiting_threads.cache_clear)
