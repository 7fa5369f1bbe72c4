"""What a search for a counterexample has found so far: the smallest failure, the largest difference, refused calls.

Hypothesis shows the smallest counterexample only when shrinking ends, which takes minutes on a slow engine. So every
failure is recorded when it happens. After SHRINK_SECONDS no more examples are tried, and the smallest one is shown.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from minillm.support.wording import counted
from minillm.verification.comparison import proposal
from minillm.verification.failure import HUNG, Failure

SHRINK_SECONDS = 30.0  # after the first failure
SHORTEST_LIMIT, LIMIT_PER_SECOND = 1.0, 10.0  # of a call while a hang is shrunk: seconds; times the slowest good call


@dataclass
class Findings:
    """The results of one search.

    Attributes:
        tolerance: the tolerance of the engine, relative to the largest logit.
        differences: the largest difference of each comparison, relative to the largest logit.
        ties: the number of times that another token was chosen, whose logit is equal up to the tolerance.
        tie: the message of the last one.
        ends: the number of answers that an end token ended; None if no end token was asked for.
        refused: the number of calls that the engine refused with NotImplementedError.
        refusal: the message of the last one.
        first: the first failing example, or None.
        smallest: the shortest one with the same verdict and exception.
        examples: the number of examples so far.
        show: is called after each change, to show the progress.
    """

    tolerance: float
    differences: list[float] = field(default_factory=list)
    ties: int = 0
    tie: str = ""
    ends: int | None = None
    refused: int = 0
    refusal: str = ""
    first: Failure | None = None
    smallest: Failure | None = None
    examples: int = 0
    show: Callable[[], None] = lambda: None
    stop_at: float = float("inf")
    slowest: float = 0.0

    def add_example(self) -> None:
        """Count an example."""
        self.examples += 1
        self.show()

    def add_failure(self, failure: Failure) -> None:
        """Record a failing example."""
        if self.smallest is None:
            self.stop_at = time.monotonic() + SHRINK_SECONDS
            self.first = self.smallest = failure
        same = (failure.verdict, failure.kind) == (self.smallest.verdict, self.smallest.kind)
        if same and _size(failure) < _size(self.smallest):
            self.smallest = failure
        self.show()

    def add_seconds(self, seconds: float) -> None:
        """Record how long a call has taken."""
        self.slowest = max(self.slowest, seconds)

    def seconds_for_a_call(self, usual: float) -> float:
        """Return the time limit of a call. While a hang is shrunk, it is short: each attempt may hang again."""
        if self.smallest is None or self.smallest.verdict != HUNG:
            return usual
        return min(usual, max(SHORTEST_LIMIT, LIMIT_PER_SECOND * self.slowest))

    def add_difference(self, relative: float) -> None:
        """Record the difference of one comparison."""
        self.differences.append(relative)

    @property
    def largest_difference(self) -> float:
        """The largest difference within the tolerance."""
        return max((one for one in self.differences if one <= self.tolerance), default=0.0)

    def add_tie(self, message: str) -> None:
        """Record a tie."""
        self.ties, self.tie = self.ties + 1, message

    def add_end(self, ended: bool) -> None:
        """Record an answer that an end token may end, and whether one did."""
        self.ends = (self.ends or 0) + ended

    def advice(self) -> str:
        """Return what to write into the adapter if rounding explains all differences, or ""."""
        return proposal(self.differences, self.tolerance)

    def add_refusal(self, message: str) -> None:
        """Record a refused call."""
        self.refused, self.refusal = self.refused + 1, message

    def time_is_up(self) -> bool:
        """Return whether SHRINK_SECONDS have passed since the first failure."""
        return time.monotonic() > self.stop_at

    def clear(self) -> None:
        """Begin a new search."""
        self.differences, self.refused, self.refusal, self.ties, self.tie = [], 0, "", 0, ""
        self.first = self.smallest = self.ends = None
        self.stop_at, self.examples, self.slowest = float("inf"), 0, 0.0

    def summary(self) -> str:
        """Return one line: the largest difference and the tolerance, and what was refused."""
        text = f"{self.largest_difference:.1e} of {self.tolerance:.0e}"
        if self.ties:
            text += f"; {counted(self.ties, 'tie')}: {self.tie}"
        if self.ends == 0:
            text += "; no answer ended with an eos of OPTIONS: choose tokens that the model often generates"
        return text + (f"; {counted(self.refused, 'call')} refused: {self.refusal}" if self.refused else "")


def _size(failure: Failure) -> tuple[int, str]:
    """Return what orders failing examples, the smallest first."""
    return len(failure.example), failure.text
