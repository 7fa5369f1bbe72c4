"""Figure: what a paper publishes, and what minillm gets for it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How far a figure can be reproduced."""

    EXACT = "exact"
    TREND = "trend"
    QUOTE = "quote"


@dataclass(frozen=True)
class Ours:
    """Result of a computation, a count or a simulation.

    Attributes:
        value: as the paper would print it.
        agrees: whether it agrees with the paper, as closely as the figure's kind demands.
        words: how far the agreement goes.
        working: the steps.
    """

    value: str
    agrees: bool
    words: str
    working: tuple[str, ...] = ()


FORMULA, COUNT = "formula reproduced", "count reproduced"
SYNTHETIC = "range and ordering on synthetic lengths"
QUOTED = "quoted"
CONTRADICTION = "the paper contradicts itself"


@dataclass(frozen=True)
class Figure:
    """One published figure.

    Attributes:
        id: unique name.
        paper: its source.
        published: what the paper says.
        kind: exact, trend or quote.
        compute: returns our result; None for a quote.
        beyond: for a quote, the reason why it cannot be reproduced.
    """

    id: str
    paper: str
    published: str
    kind: Kind
    compute: Callable[[], Ours] | None = None
    beyond: str = ""

    @property
    def meaning(self) -> str:
        """Return one sentence that says what is computed: the function's docstring."""
        return " ".join((self.compute.__doc__ or "").split()) if self.compute else ""

    def ours(self) -> Ours:
        """Compute our result."""
        return self.compute() if self.compute else Ours("", True, f"{QUOTED}: {self.beyond}")


class Topic:
    """Papers on one subject; collects their figures as they are defined."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def figure(
        self, id: str, paper: str, published: str, kind: Kind = Kind.EXACT
    ) -> Callable[[Callable[[], Ours]], Callable[[], Ours]]:
        """Return a decorator that makes a function a figure of this topic; for the arguments see Figure."""

        def add(compute: Callable[[], Ours]) -> Callable[[], Ours]:
            self.figures.append(Figure(id, paper, published, kind, compute))
            return compute

        return add

    def quote(self, id: str, paper: str, published: str, beyond: str) -> None:
        """Add a figure that cannot be reproduced; `beyond` says why."""
        self.figures.append(Figure(id, paper, published, Kind.QUOTE, beyond=beyond))


def listed(values: list[float], places: int) -> str:
    """Return numbers as a table prints them: "7.0, 10.3"."""
    return ", ".join(f"{value:.{places}f}" for value in values)
