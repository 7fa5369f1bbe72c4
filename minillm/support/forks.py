"""Forks: a child process has only the thread that forked, but all locks as they were.

A lock that another thread held is never released in the child. Some libraries hang even in the parent: OpenBLAS stops
its threads before a fork, and waits for ever if they are in the middle of a matrix product. So a fork waits until no
other thread computes or loads a model: compilers and imports have locks, too.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, RLock, get_ident


class ForkGate:
    """Counts the threads that compute. A fork waits for them, and threads that begin meanwhile wait for the fork."""

    def __init__(self) -> None:
        self._changed = Condition(RLock())
        self._computing = Counter[int]()  # thread -> `with` blocks that it is in
        self._forking = False

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Keep other threads from forking within the `with` block, or within the outermost of several."""
        thread = get_ident()
        with self._changed:  # a thread that is in a block goes on: the fork waits for it
            self._changed.wait_for(lambda: not self._forking or thread in self._computing)
            self._computing[thread] += 1
        try:
            yield
        finally:
            with self._changed:
                self._computing[thread] -= 1
                self._computing += Counter()  # without threads that are in no block
                self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait until no other thread computes, and keep the lock."""
        self._changed.acquire()
        self._forking = True
        try:
            self._changed.wait_for(lambda: not self._computing.keys() - {get_ident()})
        finally:  # also after Ctrl-C
            self._forking = False

    def after_fork(self) -> None:
        """Let the threads go on."""
        self._changed.notify_all()
        self._changed.release()


GATE = ForkGate()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=GATE.before_fork, after_in_parent=GATE.after_fork, after_in_child=GATE.after_fork)
