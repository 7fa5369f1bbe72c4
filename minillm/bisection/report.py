"""The report of a search: as JSON values, and as lines of text."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minillm.bisection.meaning import kind_of, meaning
from minillm.bisection.observed import Observed, Place, RowKey, Source
from minillm.bisection.search import Difference, Found, InCache, Largest
from minillm.support.printable import one_line
from minillm.support.wording import counted

MOST_PARTS = 4  # parts of a pass that are named


@dataclass(frozen=True)
class Report:
    """A search, with what readers need to understand it.

    Attributes:
        a, b: the two sides, as they can be typed.
        model: the name of the model.
        tokens: the prompt, and the tokens after it, which both sides ran.
        texts: the text of each token; empty if there is no tokenizer.
        prompt_tokens: the number of tokens in the prompt.
        tolerance: the relative difference up to which numbers count as equal.
        found: the result of the search.
        expected: what is to be expected of the two sides, one of `meaning.EXPECTED`.
        logits_only: whether a side is an engine in a file.
        own_model: whether the engines have a model of their own, which minillm does not know.
    """

    a: str
    b: str
    model: str
    tokens: list[int]
    texts: list[str]
    prompt_tokens: int
    tolerance: float
    found: Found
    expected: str
    logits_only: bool
    own_model: bool

    @property
    def verdict(self) -> str:
        """One sentence: whether the two sides are equal."""
        found = self.found
        of_all = f"{counted(found.operations, 'operation')}"
        if found.first is not None:
            return f"different: {found.different} of {of_all} differ"
        if not found.different:
            return f"equal to the bit in all {of_all}"
        largest = max(one.relative for one in found.largest.values())
        return f"equal within {self.tolerance:g} in all {of_all}; the largest relative difference is {largest:.1e}"

    def values(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        found = self.found
        return {
            "a": {"side": self.a, "passes": _passes(found.a)},
            "b": {"side": self.b, "passes": _passes(found.b)},
            "model": self.model,
            "tokens": self.tokens,
            "prompt_tokens": self.prompt_tokens,
            "tolerance": self.tolerance,
            "same": found.first is None,
            "operations": found.operations,
            "different": found.different,
            "kind": kind_of(found),
            "first": None if found.first is None else self._first(found.first),
            "largest": [_largest(place, one) for place, one in found.largest.items()],
            "cache_read": None if found.in_cache is None else found.in_cache._asdict(),
            "meaning": meaning(found, self.expected),
            "notes": list(self.all_notes()),
        }

    def _first(self, first: Difference) -> dict[str, Any]:
        key = first.pair.a
        return {
            "pass": {"a": first.pair.a.step, "b": first.pair.b.step},
            "sequence": key.sequence,
            "position": key.position,
            "token": self.token_at(key),
            "layer": first.place.in_layer,
            "operation": first.place.name,
            "element": first.element,
            "values": {"a": number(first.a), "b": number(first.b)},
            "relative": number(first.relative),
            "largest_relative": number(first.largest),
            "source": {"a": _source(first.sources[0]), "b": _source(first.sources[1])},
        }

    def token_at(self, key: RowKey) -> int:
        """Return the token of a row. The other sequences of a batch are the tokens turned round."""
        return self.tokens[(key.position + key.sequence) % len(self.tokens)]

    def text_at(self, key: RowKey) -> str:
        """Return the text of a row's token, in quotes, or its number."""
        index = (key.position + key.sequence) % len(self.tokens)
        return one_line(repr(self.texts[index])) if self.texts else f"token {self.tokens[index]}"

    def all_notes(self) -> Iterator[str]:
        """Yield what else a reader should know."""
        found = self.found
        if self.a == self.b:
            yield "A and B are the same, so this shows only whether the run is repeatable."
        if self.logits_only:
            yield "Of an engine in a file only the logits of each pass can be compared, not its operations."
        for name in found.unrepeatable:
            yield f"{name} gave other results the second time: it is not repeatable."
        if found.looked_into < (differing := len(found.differing)):
            rows = f"{found.looked_into} of the {counted(differing, 'row')} that differ"
            yield f"The largest differences are those of the first {rows}."


def number(value: float) -> float | str:
    """Return a number as JSON knows it; NaN and infinity as text."""
    return value if math.isfinite(value) else str(value)


def place_name(place: Place) -> str:
    """Return a place in words.

    >>> from minillm.bisection.observed import Place
    >>> place_name(Place(3, 7)), place_name(Place(-1, 0))
    ('layer 3, attention', 'embedding')
    """
    return place.name if place.in_layer is None else f"layer {place.in_layer}, {place.name}"


def pass_name(observed: Observed, step: int) -> str:
    """Return what a pass ran: `pass 2 (tokens 5 to 11)`."""
    parts = [
        ("" if sequence == 0 else f"sequence {sequence}: ")
        + (f"token {first}" if count == 1 else f"tokens {first} to {first + count - 1}")
        for sequence, first, count in observed.passes[step][:MOST_PARTS]
    ]
    more = len(observed.passes[step]) - MOST_PARTS
    return f"pass {step} ({'; '.join(parts)}{f'; {more} more' if more > 0 else ''})"


def digits(value: float, found: Found) -> str:
    """Return a number with as many digits as the coarser of both dtypes needs to be told from its neighbours."""
    return f"{value:.9g}" if max(found.a.epsilon, found.b.epsilon) > 1e-10 else repr(value)


def in_cache_words(read: InCache) -> str:
    """Return what attention read from the two caches, in a sentence."""
    if not read.name:
        return "the keys and values that it read are equal to the bit"
    return f"the {read.name} that it read differ, first at position {read.position}, by {read.relative:.1e} (relative)"


def operation_rows(found: Found) -> list[tuple[str, str, str, str]]:
    """Return a row of a table for each operation that differs: its name, by how much at most, layer and position."""
    rows = []
    for operation in sorted({place.operation for place in found.largest}):
        places = [place for place in found.largest if place.operation == operation]
        place = max(places, key=lambda place: found.largest[place].relative)
        relative, pair = found.largest[place]
        layer = "" if place.in_layer is None else str(place.in_layer)
        rows.append((place.name, f"{relative:.1e}", layer, str(pair.a.position)))
    return rows


def _passes(observed: Observed) -> list[list[dict[str, int]]]:
    return [
        [{"sequence": sequence, "first": first, "count": count} for sequence, first, count in parts]
        for parts in observed.passes
    ]


def _largest(place: Place, largest: Largest) -> dict[str, Any]:
    key = largest.pair.a
    where = {"layer": place.in_layer, "sequence": key.sequence, "position": key.position}
    return {"operation": place.name, "relative": number(largest.relative)} | where


def _source(source: Source | None) -> dict[str, str] | None:
    return None if source is None else source._asdict()


def lines(report: Report) -> Sequence[str]:
    """Return the report as lines of text; an empty line separates paragraphs."""
    found, first = report.found, report.found.first
    new = len(report.tokens) - report.prompt_tokens
    said = [f"A: {report.a}", f"B: {report.b}"]
    said += [f"{report.model}: {counted(report.prompt_tokens, 'token')} of prompt, then {new} more", "", report.verdict]
    if first is not None:
        said += ["", "The first difference:", *_first_lines(report)]
        said += ["", meaning(found, report.expected)]
    notes = list(report.all_notes())
    return [*said, *(["", *notes] if notes else [])]


def _first_lines(report: Report) -> Iterator[str]:
    for name, value in about_first(report):
        yield f"     {name} {value}" if name in ("asked for by", "computed by") else f"  {name}: {value}"


def about_first(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what is known of the first difference, as names and values: where it is, both numbers and their sources."""
    found, first = report.found, report.found.first
    assert first is not None
    key = first.pair.a
    sequence = "" if key.sequence == 0 else f"sequence {key.sequence}, "
    yield "token", f"{sequence}position {key.position}, {report.text_at(key)}"
    yield "operation", f"{place_name(first.place)}, element {first.element}"
    for name, observed, row, value, source in (
        ("A", found.a, first.pair.a, first.a, first.sources[0]),
        ("B", found.b, first.pair.b, first.b, first.sources[1]),
    ):
        yield name, f"{digits(value, found)} in {pass_name(observed, row.step)}"
        if source is not None:
            yield "asked for by", f"{source.called}: {source.called_text}"
            yield "computed by", f"{source.computed} in {source.function}: {source.computed_text}"
    yield "relative difference", f"{first.relative:.1e}; the largest of this result is {first.largest:.1e}"
    before = "everything that was " + ("seen" if report.logits_only else "computed") + " before it is equal "
    yield "before it", before + (f"within {report.tolerance:g}" if report.tolerance else "to the bit")
    if found.in_cache is not None:
        yield "cache", in_cache_words(found.in_cache)
