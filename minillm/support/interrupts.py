"""Interrupts: Ctrl-C may be raised between any two instructions, and would leave half done what has to be done whole.

Arrays are not in danger: a forward pass that was interrupted is made again. Bookkeeping is: a token that is in the
sequence and not yet in the text, a block that is taken and in no table. It takes microseconds, so Ctrl-C can wait.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any


@contextmanager
def defer_interrupts(tell: Callable[[BaseException], Any] = lambda problem: None) -> Iterator[None]:
    """What Ctrl-C raises within this block is raised at its end; `tell` hears of it at once.

    Only the main thread hears Ctrl-C, so elsewhere there is nothing to hold.
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
