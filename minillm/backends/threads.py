"""Threads: how many to use, and a way to run tasks on them.

A *task* is one call `work(number)` of a function that several threads work through together. The libraries read their
number of threads from environment variables when they are imported. minillm reads the same variables.
"""

import os
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from queue import SimpleQueue
from threading import Thread

VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def default_threads() -> int:
    """Return the number that the environment sets, else the number of processors that this process may use."""
    said = (os.environ.get(name, "") for name in VARIABLES)
    numbers = [int(text) for text in said if text.isdecimal() and int(text)]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return numbers[0] if numbers else usable


def check_numba_threads() -> None:
    """Raise OSError if NUMBA_NUM_THREADS is an integer with which numba cannot be imported."""
    said = os.environ.get("NUMBA_NUM_THREADS", "")
    if said.removeprefix("-").isdecimal() and int(said) < 1:
        raise OSError(f"NUMBA_NUM_THREADS is {said[:80]!r}; expected 1 or more; change it, or use backend='numpy'")


def environment_for(threads: int) -> dict[str, str]:
    """Return this process's environment with the number of threads set for every library."""
    return os.environ | dict.fromkeys(VARIABLES, str(threads))


def thread_count() -> int:
    """Return the number of threads that run tasks, including the calling one."""
    return _waiting_threads()[0]


def run_tasks(work: Callable[[int], None], count: int) -> None:
    """Run the tasks work(0) to work(count - 1). Each thread takes the next task when it is free.

    Tasks may wait for each other if there are no more tasks than threads. NumPy releases Python's global lock while it
    computes, so Python's own threads are enough.

    Raises:
        the first exception that a task raised, after all tasks are done.
    """
    threads, inbox = _waiting_threads()
    left, problems = deque(range(count)), SimpleQueue[BaseException | None]()  # one entry for each task that is done
    take_tasks = partial(_take_tasks, work, left, problems)
    for _ in range(min(threads, count) - 1):
        inbox.put(take_tasks)
    take_tasks()
    found = [problem for problem in (problems.get() for _ in range(count)) if problem]
    if found:
        raise found[0]


def _take_tasks(work: Callable[[int], None], left: deque[int], problems: "SimpleQueue[BaseException | None]") -> None:
    while True:
        try:
            number = left.popleft()
        except IndexError:  # every task is taken
            return
        try:
            work(number)
            problems.put(None)
        except BaseException as problem:  # MemoryError, say, or KeyboardInterrupt: `run_tasks` waits for an entry
            problems.put(problem)


@cache
def _waiting_threads() -> tuple[int, "SimpleQueue[Callable[[], None]]"]:
    """Start all threads but the calling one. Return the number of threads and the queue from which they take work."""
    threads, inbox = default_threads(), SimpleQueue[Callable[[], None]]()

    def work_forever() -> None:
        while True:
            inbox.get()()

    for number in range(1, threads):
        Thread(target=work_forever, name=f"tasks {number}", daemon=True).start()
    return threads, inbox


if hasattr(os, "register_at_fork"):  # a child process has none of its parent's threads
    os.register_at_fork(after_in_child=_waiting_threads.cache_clear)
