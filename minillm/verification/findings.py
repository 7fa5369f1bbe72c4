"""What a search for a counterexample has found so far: the smallest failure, the largest difference, refused calls.

Hypothesis shows the smallest counterexample only when shrinking ends, which takes minutes on a slow engine. So every
failure is recorded when it happens. After SHRINK_SECONDS no more examples are tried, and the smallest one is shown.
"""

import time
from dataclasses import dataclass

from minillm.support.wording import counted

SHRINK_SECONDS = 30.0  # after the first failure


@dataclass
class Findings:
    """The results of one search.

    Attributes:
        tolerance: the tolerance of the engine, relative to the largest logit.
        largest_difference: the largest difference of logits that passed, relative to the largest logit.
        refused: the number of calls that the engine refused with NotImplementedError.
        refusal: the message of the last one.
        smallest: the report of the shortest failing example, or None.
    """

    tolerance: float
    largest_difference: float = 0.0
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
        """Record the difference of logits within the tolerance."""
        self.largest_difference = max(self.largest_difference, relative)

    def add_refusal(self, message: str) -> None:
        """Record a refused call."""
        self.refused, self.refusal = self.refused + 1, message

    def time_is_up(self) -> bool:
        """Return whether SHRINK_SECONDS have passed since the first failure."""
        return time.monotonic() > self.stop_at

    def clear(self) -> None:
        """Begin a new search."""
        self.largest_difference, self.refused, self.refusal = 0.0, 0, ""
        self.smallest, self.stop_at = None, float("inf")

    def summary(self) -> str:
        """Return one line: how far the passing comparisons were from the tolerance, and what was refused."""
        text = f"largest difference {self.largest_difference:.1e} of {self.tolerance:.0e}"
        return text + (f"; {counted(self.refused, 'call')} refused: {self.refusal}" if self.refused else "")
