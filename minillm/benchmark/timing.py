"""Repeated timings and their median: absolute times drift from run to run, so the spread is always reported."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of several measurements."""

    median: float
    low: float
    high: float

    def record(self) -> dict[str, float]:
        """Return the spread for JSON."""
        return {"median": self.median, "min": self.low, "max": self.high}


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of measurements."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return ours over theirs, round by round: load that affects both in one round cancels out."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def seconds(action: Callable[[], Any]) -> float:
    """Return the seconds that one call takes."""
    started = perf_counter()
    action()
    return perf_counter() - started
