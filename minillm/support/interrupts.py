"""Interrupts: KeyboardInterrupt can strike between any two instructions and leave an update half finished.

Arrays are safe: an interrupted forward pass is run again. Bookkeeping is not: a token could be in the sequence but not
in the text, or a block allocated but in no block table. Bookkeeping takes microseconds, so Ctrl-C can wait for it.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any


@contextmanager
def defer_interrupts(tell: Callable[[BaseException], Any] = lambda problem: None) -> Iterator[None]:
    """Delay what Ctrl-C raises within the `with` block until its end. Call `tell` with the exception at once.

    Only the main thread receives Ctrl-C, so in other threads this does nothing.
    """
    before = signal.getsignal(signal.SIGINT)
    if current_thread() is not main_thread() or not callable(before):
        yield
        return
    problems = list[BaseException]()

    def hear(number: int, frame: Any) -> None:
        try:
            before(number, frame)
        except BaseException as problem:
            problems.append(problem)
            tell(problem)

    signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if problems:
            raise problems[0]
