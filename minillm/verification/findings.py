"""What a search for a counterexample has found so far: the smallest failure, the largest difference, refused calls.

Hypothesis shows the smallest counterexample only when shrinking ends, which takes minutes on a slow engine. So every
failure is recorded when it happens. After SHRINK_SECONDS no more examples are tried, and the smallest one is shown.
"""

import time
from dataclasses import dataclass, field

from minillm.support.wording import counted
from minillm.verification.comparison import proposal

SHRINK_SECONDS = 30.0  # after the first failure


@dataclass
class Findings:
    """The results of one search.

    Attributes:
        tolerance: the tolerance of the engine, relative to the largest logit.
        differences: the largest difference of each comparison, relative to the largest logit.
        ties: the number of times that another token was chosen, whose logit is equal up to the tolerance.
        tie: the message of the last one.
        refused: the number of calls that the engine refused with NotImplementedError.
        refusal: the message of the last one.
        smallest: the report of the shortest failing example, or None.
    """

    tolerance: float
    differences: list[float] = field(default_factory=list)
    ties: int = 0
    tie: str = ""
    refused: int = 0
    refusal: str = ""
    smallest: str | None = None
    stop_at: float = float("inf")

    def add_failure(self, lines: list[str]) -> str:
        """Record a failing example, and return its text."""
        if self.smallest is None:
            self.stop_at = time.monotonic() + SHRINK_SECONDS
        text = "\n".join(lines)
        if self.smallest is None or len(text) < len(self.smallest):
            self.smallest = text
        return text

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
        self.smallest, self.stop_at = None, float("inf")

    def summary(self) -> str:
        """Return one line: how far the passing comparisons were from the tolerance, and what was refused."""
        text = f"largest difference {self.largest_difference:.1e} of {self.tolerance:.0e}"
        if self.ties:
            text += f"; {counted(self.ties, 'tie')}: {self.tie}"
        return text + (f"; {counted(self.refused, 'call')} refused: {self.refusal}" if self.refused else "")
