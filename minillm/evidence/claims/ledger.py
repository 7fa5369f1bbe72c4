"""Claim, Finding, Verdict: what a claim says, what is found, and how the two compare."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from minillm.estimate.units import Number


class Verdict(Enum):
    """How a claim stands."""

    TRUE = "true"
    TRUE_IF = "true if"  # under the condition that the note names
    IMPRECISE = "imprecise"  # the note has the better value
    FALSE = "false"  # the note has the right one
    UNCHECKABLE = "not checkable"


@dataclass(frozen=True)
class Finding:
    """What a claim's function found.

    Attributes:
        verdict: how the claim stands with these inputs.
        note: the condition, or the better or right value; perhaps empty.
        figure: what was computed or run, on one line.
        working: how, step by step, with the numbers put in.
    """

    verdict: Verdict
    note: str
    figure: str
    working: tuple[str, ...]


def finding(verdict: Verdict, note: str, figure: str, *working: str) -> Finding:
    """A Finding; a figure without steps is its own working."""
    return Finding(verdict, note, figure, working or (figure,))


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        id: its name.
        section: of the article.
        quote: the claim itself.
        function: computes or runs what it says, and judges it.
        runs: whether the engine is run.
        not_yet_run: what experiment the engine cannot make yet; empty if there is none.
        corrects: what a calculation by hand had before, and why it is mistaken; empty if code agrees with it.
    """

    id: str
    section: str
    quote: str
    function: Callable[..., Finding]
    runs: bool = False
    not_yet_run: str = ""
    corrects: str = ""

    @property
    def inputs(self) -> dict[str, Any]:
        """What can be varied, each with the value that the claim implies."""
        return {name: p.default for name, p in inspect.signature(self.function).parameters.items()}

    @property
    def meaning(self) -> str:
        """What is checked, in a sentence."""
        return " ".join((self.function.__doc__ or "").split())

    def judge(self, settings: Mapping[str, str] | None = None) -> Finding:
        """Compute or run it, with some inputs set to other values.

        The note explains the verdict on the claim as it stands; if other inputs give another, it says so.

        Raises:
            ValueError: no such input, not a value of its kind, or one that allows no figure.
        """
        changed = self.parsed(settings or {})
        found = self._found(changed)
        if not changed or found.verdict is (standing := self._found({})).verdict:
            return found
        as_it_stands = standing.verdict.value + (f" ({standing.note})" if standing.note else "")
        return replace(found, note=f"with these inputs; as the article has it, {as_it_stands}")

    def parsed(self, settings: Mapping[str, str]) -> dict[str, Any]:
        """Inputs given as text, as values of their kinds.

        Raises:
            ValueError: no such input, or not a value of its kind.
        """
        return {name: self._parsed(name, text) for name, text in settings.items()}

    def _found(self, changed: dict[str, Any]) -> Finding:
        try:
            return self.function(**(self.inputs | changed))
        except (ZeroDivisionError, OverflowError, IndexError) as problem:
            raise ValueError(f"{self.id}: these inputs allow no figure ({problem})") from None

    def _parsed(self, name: str, text: str) -> Any:
        if name not in self.inputs:
            known = ", ".join(self.inputs) or "none"
            raise ValueError(f"{self.id} has no input {name[:40]!r}; it has {known}")
        kind = type(self.inputs[name])
        try:
            value = kind(text)
        except ValueError:
            expected = "a whole number" if kind is int else "a number"
            raise ValueError(f"{self.id}: {name} is {text[:40]!r}; expected {expected}") from None
        most = 1_000_000 if kind is int else 1e18  # whole numbers are counted through
        if kind is not str and (not math.isfinite(value) or not 0 <= value <= most):
            raise ValueError(f"{self.id}: {name} is {text[:40]!r}; expected a number from 0 to {most:g}")
        return value


class Section:
    """A section of the article, to which claims are added as they are defined."""

    def __init__(self, title: str) -> None:
        """No claims yet."""
        self.title, self.claims = title, list[Claim]()

    def claim(
        self, id: str, quote: str, runs: bool = False, not_yet_run: str = "", corrects: str = ""
    ) -> Callable[[Callable[..., Finding]], Callable[..., Finding]]:
        """Make a function a claim of this section; see Claim."""

        def add(function: Callable[..., Finding]) -> Callable[..., Finding]:
            self.claims.append(Claim(id, self.title, quote, function, runs, not_yet_run, corrects))
            return function

        return add


def ms(seconds: Number) -> str:
    """Seconds as milliseconds with three digits: 0.00648 as '6.48 ms'."""
    return f"{digits(seconds * 1000)} ms"


def gb(bytes_: Number) -> str:
    """Bytes as '13.5 GB'."""
    return f"{digits(bytes_ / 1e9)} GB"


def digits(value: Number) -> str:
    """Three significant digits, without an exponent up to a million: 0.0648, 6.48, 648, 6,480."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
