"""Figure: what a paper publishes, and what ours is beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What it would mean to reproduce a figure."""

    EXACT = "exact"
    TREND = "trend"
    QUOTE = "quote"


@dataclass(frozen=True)
class Ours:
    """What was computed, counted or simulated.

    Attributes:
        value: as the paper would print it.
        agrees: whether it is what the paper publishes, within the figure's kind.
        words: how far that goes, honestly.
        working: how, step by step.
    """

    value: str
    agrees: bool
    words: str
    working: tuple[str, ...] = ()


FORMULA, COUNT = "formula reproduced", "count reproduced"
SYNTHETIC = "range and ordering on synthetic lengths"
QUOTED = "quoted"
CONTRADICTION = "the paper does not agree with itself"


@dataclass(frozen=True)
class Figure:
    """One published figure.

    Attributes:
        id: its name.
        paper: where it is from.
        published: what it says.
        kind: exact, trend or quote.
        compute: ours; None for a quote.
        beyond: of a quote, why it is beyond us.
    """

    id: str
    paper: str
    published: str
    kind: Kind
    compute: Callable[[], Ours] | None = None
    beyond: str = ""

    @property
    def meaning(self) -> str:
        """What is computed, in a sentence."""
        return " ".join((self.compute.__doc__ or "").split()) if self.compute else ""

    def ours(self) -> Ours:
        """Compute it."""
        return self.compute() if self.compute else Ours("", True, f"{QUOTED}: {self.beyond}")


class Topic:
    """Papers on one subject, to which figures are added as they are defined."""

    def __init__(self) -> None:
        """No figures yet."""
        self.figures: list[Figure] = []

    def figure(
        self, id: str, paper: str, published: str, kind: Kind = Kind.EXACT
    ) -> Callable[[Callable[[], Ours]], Callable[[], Ours]]:
        """Make a function a figure of this topic; see Figure."""

        def add(compute: Callable[[], Ours]) -> Callable[[], Ours]:
            self.figures.append(Figure(id, paper, published, kind, compute))
            return compute

        return add

    def quote(self, id: str, paper: str, published: str, beyond: str) -> None:
        """A figure that cannot be reached, and why not."""
        self.figures.append(Figure(id, paper, published, Kind.QUOTE, beyond=beyond))


def listed(values: list[float], places: int) -> str:
    """Numbers as a table prints them."""
    return ", ".join(f"{value:.{places}f}" for value in values)
