"""Threads: how many there are to use, work that they do together, and a product that several of them share.

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
    """How many threads `shared_matmul` and `run_together` have, this one included."""
    return _waiting_threads()[0]


def run_together(run: Callable[[int], None], count: int) -> None:
    """run(0), run(1) and so on, each on a thread of its own; at most `thread_count()` of them.

    Raises:
        the first exception that one of them raised, when all have ended.
    """
    _, inbox = _waiting_threads()
    problems: SimpleQueue[BaseException | None] = SimpleQueue()  # in the order in which they end

    def run_one(number: int) -> None:
        try:
            run(number)
            problems.put(None)
        except BaseException as problem:
            problems.put(problem)

    for number in range(1, count):
        inbox.put(partial(run_one, number))
    run_one(0)
    found = [problem for problem in (problems.get() for _ in range(count)) if problem]
    if found:
        raise found[0]


def shared_matmul(
    a: Float[Array, "*_ n k"], b: Float[Array, "stack *_ k m"], out: Float[Array, "stack *_ n m"]
) -> None:
    """np.matmul of one matrix with a stack of others, in parts; each thread takes the next part when it is free.

    NumPy lets go of Python's lock while it multiplies, so Python's own threads are enough. A sleeping thread takes
    a while to wake, as long as a part or two of a small product: so there are more parts than threads.
    """
    threads, inbox = _waiting_threads()
    count = PARTS * threads
    parts = deque(slice(len(b) * n // count, len(b) * (n + 1) // count) for n in range(count))
    problems: SimpleQueue[Exception | None] = SimpleQueue()  # one entry for each part that is done
    multiply_parts = partial(_multiply_parts, a, b, out, parts, problems)
    for _ in range(threads - 1):
        inbox.put(multiply_parts)
    multiply_parts()
    for _ in range(count):
        if problem := problems.get():
            raise problem


def _multiply_parts(
    a: Array, b: Array, out: Array, parts: deque[slice], problems: "SimpleQueue[Exception | None]"
) -> None:
    while True:
        try:
            part = parts.popleft()
        except IndexError:  # all are taken
            return
        try:
            np.matmul(a, b[part], out=out[part])
            problems.put(None)
        except Exception as problem:  # no memory, say: whoever waits for the product has to hear of it
            problems.put(problem)


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
