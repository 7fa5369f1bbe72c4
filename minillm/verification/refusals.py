"""Refused calls: how a property learns of one, and when a search in which every example is refused ends."""

from collections.abc import Iterator
from contextlib import contextmanager

MOST_REFUSED = 30  # examples, if none was tried: later ones would be refused, too


class Refused(Exception):
    """Raised for a call that the engine refuses. Its caches are as before."""


class Halfway(Exception):
    """Raised if a part of a prompt is refused, and the parts before it are in the cache."""


class EveryExampleRefused(BaseException):
    """Raised to end a search. An Exception would be taken for a counterexample by Hypothesis."""


class Patience:
    """Counts the refused examples of one search, until one is tried."""

    def __init__(self) -> None:
        self.refused, self.tried = 0, False

    @contextmanager
    def example(self) -> Iterator[None]:
        """Run one example, and leave it out if a call is refused.

        Raises:
            EveryExampleRefused: if MOST_REFUSED were refused, and none was tried.
        """
        from hypothesis import reject

        try:
            yield
        except Refused:
            self.refused += 1
            if self.refused >= MOST_REFUSED and not self.tried:
                raise EveryExampleRefused from None
            reject()
        except Halfway:
            reject()
        except AssertionError:
            self.tried = True
            raise
        self.tried = True
