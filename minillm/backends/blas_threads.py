"""BLAS threads: how many threads the matrix library uses. The number belongs to the whole process.

OpenBLAS gives each of its threads a part of a matrix product, and then waits until all are done. The wait is a loop, so
it needs a processor, too. On a busy machine a thread may have to wait several milliseconds for a processor. A large
model hardly notices. A pass of a small model has about thirty products of less than a millisecond, and a wait for each.
Measured with `story` on 2 processors, milliseconds for a pass:

    rows of the pass                      1     16     32 (one prompt)
    1 thread,  idle machine             2.5    8.4     5.3
    2 threads, idle machine             2.5    7.1     4.7
    1 thread,  two other busy programs  2.8     16      15
    2 threads, two other busy programs  2.5     33      39      and up to 340

On a machine with ten busy programs, 16 prompts of 8 tokens took 1600 ms with 2 threads, and 210 ms with 1.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from threading import Lock
from typing import Any

from minillm.config import ModelConfig
from minillm.estimate.parameters import matrix_parameters
from minillm.support.interrupts import defer_interrupts

SMALL_MODEL = 8_000_000  # parameters of the matrices; at 15 million a second thread saves a fifth of a decode step


def is_small(config: ModelConfig) -> bool:
    """Return whether passes of a model are so short that more BLAS threads may cost more than they save."""
    return matrix_parameters(config) < SMALL_MODEL


def threads_that_help(config: ModelConfig) -> AbstractContextManager[None]:
    """Return the context for a forward pass: one BLAS thread for a small model, no limit for others."""
    return one_blas_thread() if is_small(config) else nullcontext()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit the BLAS library to one thread until the end of the `with` block.

    Several Python threads may be in such a block at the same time. The last one to leave ends the limit. Ctrl-C waits
    for the end of the block, because it could strike between counting a block and leaving it.
    """
    with defer_interrupts():
        _LIMIT.begin()
        try:
            yield
        finally:
            _LIMIT.end()


@cache
def blas_libraries() -> list[Any]:
    """Return the BLAS libraries whose threads can be limited: OpenBLAS, MKL or BLIS, but not Apple's Accelerate."""
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


class _Limit:
    """The limit of one thread, and how many blocks need it."""

    def __init__(self) -> None:
        self._lock, self._blocks = Lock(), 0
        self._before = list[int]()  # the number of threads of each library

    def begin(self) -> None:
        """Let every BLAS library use one thread, if no block has asked for it yet."""
        with self._lock:
            if self._blocks == 0:
                self._before = [library.num_threads for library in blas_libraries()]
                _set([1] * len(self._before))
            self._blocks += 1

    def end(self) -> None:
        """Give the libraries their threads back, if no other block needs one."""
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                _set(self._before)


def _set(numbers: list[int]) -> None:
    """Set the number of threads of each library.

    threadpoolctl 3.7 lets one Python thread set it, and passes over what others ask for. Here `_Limit` decides.
    """
    for library, number in zip(blas_libraries(), numbers, strict=True):
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)
        library.set_num_threads(number)


_LIMIT = _Limit()
