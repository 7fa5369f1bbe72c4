"""Sharing: several threads work through one kernel together, and none is waited for before it has begun.

All threads call the *same* kernel with the same arguments. A kernel consists of phases, and a phase of items that do
not depend on each other: the tiles of a product, the rows of a norm. Two counters a phase say how far it is:

                taken  done           a thread takes an item by adding 1 to `taken`: the old number is its item
    phase 0       18    18
    phase 1        7     5            two items are being computed
    phase 2        0     0

    thread 0   | item 0 | item 2   | item 3 | ... wait until done = items | next phase
    thread 1       | item 1 | item 4 |  ...

A thread that finds no item left waits until all are done. So a thread that comes late, because the machine is busy or
the thread was asleep, delays nobody: the others do its work, and it finds nothing to do. A thread alone does
everything and never waits. The result does not depend on which thread computes which item, so neither do its bits.

numba's own threads (`prange`) are not used. They start and stop for every loop, 5 microseconds each, which is more than
a layer of a small model takes. Their libraries have limits, too: one of them does not survive a fork, and another must
not be entered by two Python threads. Here the threads are Python's, those of `backends/threads.py`: they survive
neither, but are started again in the child, and every call has its own counters.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from minillm.arrays import Array
from minillm.backends.compiled.compile_progress import progress_of
from minillm.backends.compiled.compiling import inlined
from minillm.backends.compiled.vectors import add_and_get_old, seen_by_all
from minillm.backends.threads import run_tasks, thread_count

TAKEN, DONE, WIDTH = 0, 8, 16  # 8 numbers fill a cache line, and two threads that write to one line slow each other
THREADS = 7  # of the first phase: the number of threads, which tells how finely to divide the work
LITTLE_WORK = 500_000  # multiply-adds; below, one thread is done before another is awake
PATIENCE = 2000  # looks, about 20 microseconds; then the waiting thread lets others have its processor

if sys.platform == "win32":
    _let_others_run = None
else:
    _let_others_run = types.ExternalFunction("sched_yield", types.int32())


_compiled = set[Any]()  # kernels with the dtypes of arguments with which they have been called


def new_counters(phases: int = 1) -> Array:
    """Return counters for one call of a kernel: taken and done of each phase, on cache lines of their own."""
    counters = np.zeros((phases, WIDTH), np.int64)
    counters[0, THREADS] = thread_count()
    return counters


def share(work: float, kernel: Callable[..., None], *args: Any) -> None:
    """Call the kernel on all threads, or only here if there is little to do.

    The first call with arguments of other dtypes compiles. It is made here alone, so that Ctrl-C can end it. If Ctrl-C
    or another exception comes between, the kernel is called once more, so that it is finished. No thread may write to a
    cache, which may be freed, after this call has ended.

    Args:
        work: the number of multiply-adds, about.
        kernel: what to call.
        *args: its arguments. The last are new counters.
    """
    threads, call = thread_count(), (kernel, _dtypes(args))
    if call not in _compiled:
        with progress_of(kernel, args):
            kernel(*args)
        _compiled.add(call)
    elif threads == 1 or work < LITTLE_WORK:
        kernel(*args)
    else:
        try:
            run_tasks(lambda number: kernel(*args), threads)
        except BaseException:
            kernel(*args)
            raise


def _dtypes(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the dtype of each argument, also of those in tuples; None for a number."""
    return tuple(_dtypes(each) if isinstance(each, tuple) else getattr(each, "dtype", None) for each in args)


@inlined
def take(counters: Any, phase: int) -> int:
    """Return the number of the next item of the phase; it may be beyond the last one."""
    return add_and_get_old(counters, (phase, TAKEN), 1)


@inlined
def done_take_next(counters: Any, phase: int) -> int:
    """Count an item as done, and return the number of the next one."""
    add_and_get_old(counters, (phase, DONE), 1)
    return add_and_get_old(counters, (phase, TAKEN), 1)


@inlined
def likely_next(counters: Any, phase: int, item: int) -> int:
    """Return the item that this thread will probably take after `item`, if each thread at work takes one in turn."""
    return item + seen_by_all(counters, (phase, TAKEN)) - seen_by_all(counters, (phase, DONE))


@inlined
def wait(counters: Any, phase: int, items: int) -> None:
    """Wait until all items of the phase are done."""
    looks = 0
    while seen_by_all(counters, (phase, DONE)) < items:
        looks += 1
        if _let_others_run is not None and looks > PATIENCE:
            _let_others_run()
