"""The search: where two runs of the same tokens differ first, and how much each operation differs.

Both runs are made twice. The first time, only digests of the results are kept, 8 bytes each, so a long run takes little
memory. They say which rows differ at all. The second time the results of these rows are kept, the first ones first, and
compared number by number. If a tolerance is given, this goes on until a difference is larger.

The *relative difference* of two numbers is their difference, divided by the largest number of their vectors. So a
number near 0, in which rounding errors of larger ones remain, does not look worse than it is.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np

from minillm.arrays import Array, Float
from minillm.bisection.observed import NOTHING, Observed, Place, RowKey, Source, Wanted
from minillm.support.wording import counted

MOST_BYTES = 200_000_000  # of results that are kept at a time, of each run
Observe = Callable[[Wanted], Observed]  # make the run, and keep what is wanted


class Pair(NamedTuple):
    """The work of two runs on the same token."""

    a: RowKey
    b: RowKey


@dataclass(frozen=True)
class Difference:
    """The first number of a result that differs by more than the tolerance.

    Attributes:
        pair: the rows.
        place: the operation and its layer.
        element: the index in the vector.
        a, b: the two numbers.
        relative: the relative difference of these two.
        largest: the largest relative difference in the vector.
        sources: where each run computed it; None if that is not known.
    """

    pair: Pair
    place: Place
    element: int
    a: float
    b: float
    relative: float
    largest: float
    sources: tuple[Source | None, Source | None]


class Largest(NamedTuple):
    """The largest relative difference in a place, and the rows that have it."""

    relative: float
    pair: Pair


class Compared(NamedTuple):
    """Two rows that were compared: how many results they have in common, and how many of these differ."""

    pair: Pair
    results: int
    different: int


class InCache(NamedTuple):
    """The comparison of what attention read from the two caches.

    Attributes:
        name: "keys" or "values", whichever differ first; "" if both are equal to the bit.
        position: the first position whose key or value differs.
        relative: the largest relative difference of that key or value.
    """

    name: str
    position: int
    relative: float


@dataclass
class Found:
    """What the search found.

    Attributes:
        a, b: the two runs, without values.
        rows: all rows that were compared.
        first: the first difference above the tolerance, or None.
        largest: for each place that differs, in their order, the largest relative difference.
        looked_into: the number of differing rows whose numbers were compared.
        in_cache: if the first difference is in attention, what differs first in the keys and values it read; None if
            they are equal or not known.
        unrepeatable: which of the runs, "A" or "B", gave other results the second time.
    """

    a: Observed
    b: Observed
    rows: list[Compared]
    first: Difference | None = None
    largest: dict[Place, Largest] = field(default_factory=dict)
    looked_into: int = 0
    in_cache: "InCache | None" = None
    unrepeatable: list[str] = field(default_factory=list)

    @property
    def operations(self) -> int:
        """The number of results that were compared."""
        return sum(row.results for row in self.rows)

    @property
    def different(self) -> int:
        """The number of those that are not equal to the bit."""
        return sum(row.different for row in self.rows)

    @property
    def differing(self) -> list[Pair]:
        """The rows that differ."""
        return [row.pair for row in self.rows if row.different]


def search(observe_a: Observe, observe_b: Observe, tolerance: float = 0.0) -> Found:
    """Compare two runs of the same tokens.

    Args:
        observe_a: makes the first run.
        observe_b: makes the second run.
        tolerance: the relative difference up to which numbers count as equal.

    Raises:
        ValueError: the runs have no result in common.
    """
    a, b = observe_a(NOTHING), observe_b(NOTHING)
    found = Found(a, b, [_compare_digests(a, b, pair) for pair in pairs(a, b)])
    if not found.operations:
        raise ValueError("the two runs have no result in common; expected logits after at least one token in both")
    size = max(1, MOST_BYTES // max(found.a.row_bytes, found.b.row_bytes, 1))
    remaining = iter(found.differing)
    while found.first is None and (window := list(islice(remaining, size))):
        _look_into(found, window, observe_a, observe_b, tolerance)
    found.largest = dict(sorted(found.largest.items()))
    if found.first is not None and found.first.place.name == "attention":
        found.in_cache = _compare_caches(found.first, observe_a, observe_b)
    return found


def pairs(a: Observed, b: Observed) -> list[Pair]:
    """Return the rows of the same token in both runs, in the order of A's passes.

    A token may run several times, for example again after a truncation. The last time is the one that later tokens
    build on. So each time in one run is compared with the last time in the other.
    """
    rows_a, rows_b = _by_token(a), _by_token(b)
    found: list[Pair] = []
    for token in rows_a.keys() & rows_b.keys():
        last_a, last_b = rows_a[token][-1], rows_b[token][-1]
        found += [Pair(row, last_b) for row in rows_a[token]] + [Pair(last_a, row) for row in rows_b[token][:-1]]
    return sorted(found, key=lambda pair: (pair.a.step, pair.b.step, pair.a.sequence, pair.a.position))


def relative_differences(a: Float[Array, "_"], b: Float[Array, "_"]) -> Float[Array, "_"]:
    """Return |a - b| for each number, divided by the largest magnitude of both vectors.

    Two NaNs are equal, and so are two infinities of one sign. A number and a NaN or infinity differ by infinity.
    """
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    finite = np.isfinite(a) & np.isfinite(b)
    scale = max(np.abs(a[finite]).max(initial=0.0), np.abs(b[finite]).max(initial=0.0))
    with np.errstate(all="ignore"):
        difference = np.abs(a - b) / scale
    return np.where(same, 0.0, np.where(finite, difference, np.inf))


def _by_token(observed: Observed) -> dict[tuple[int, int], list[RowKey]]:
    rows = defaultdict(list)
    for key in sorted(observed.digests):
        rows[key.sequence, key.position].append(key)
    return rows


def _compare_digests(a: Observed, b: Observed, pair: Pair) -> Compared:
    of_a, of_b = a.digests[pair.a], b.digests[pair.b]
    common = of_a.keys() & of_b.keys()
    return Compared(pair, len(common), sum(of_a[place] != of_b[place] for place in common))


def _look_into(found: Found, window: list[Pair], observe_a: Observe, observe_b: Observe, tolerance: float) -> None:
    """Compare the numbers of some rows, and add what differs to what was found."""
    a = observe_a(Wanted(frozenset(pair.a for pair in window)))
    b = observe_b(Wanted(frozenset(pair.b for pair in window)))
    for name, first_time, second_time in (("A", found.a, a), ("B", found.b, b)):
        if first_time.digests != second_time.digests and name not in found.unrepeatable:
            found.unrepeatable.append(name)
    found.looked_into += len(window)
    for pair in window:
        for place, of_a, of_b in _in_order(a, b, pair):
            relative = relative_differences(of_a, of_b)
            largest = float(relative.max(initial=0.0))
            if largest and largest > found.largest.get(place, Largest(0.0, pair)).relative:
                found.largest[place] = Largest(largest, pair)
            if found.first is None and largest > tolerance:
                element = int(np.flatnonzero(relative > tolerance)[0])
                sources = a.sources.get((pair.a.step, place)), b.sources.get((pair.b.step, place))
                numbers = float(of_a[element]), float(of_b[element]), float(relative[element])
                found.first = Difference(pair, place, element, *numbers, largest, sources)


def _compare_caches(first: Difference, observe_a: Observe, observe_b: Observe) -> InCache | None:
    """Make both runs again, and compare the keys and values that attention read at the first difference."""
    layer = first.place.layer
    read_a = observe_a(Wanted(frozenset([first.pair.a]), layer)).read.get(first.pair.a)
    read_b = observe_b(Wanted(frozenset([first.pair.b]), layer)).read.get(first.pair.b)
    if read_a is None or read_b is None:
        return None
    for name, a, b in zip(("keys", "values"), read_a, read_b, strict=True):
        for position, (of_a, of_b) in enumerate(zip(a, b, strict=True)):
            if largest := float(relative_differences(of_a, of_b).max(initial=0.0)):
                return InCache(name, position, largest)
    return InCache("", 0, 0.0)


def _in_order(a: Observed, b: Observed, pair: Pair) -> Iterator[tuple[Place, Array, Array]]:
    of_a, of_b = a.values.get(pair.a, {}), b.values.get(pair.b, {})
    for place in sorted(of_a.keys() & of_b.keys()):
        if of_a[place].shape != of_b[place].shape:
            sizes = f"{counted(len(of_a[place]), 'number')} and B {len(of_b[place])}"
            raise ValueError(f"{place.name}: A has {sizes}: the models differ; expected two runs of one model")
        yield place, of_a[place], of_b[place]
