"""Claim, Finding and Verdict: what a claim says, what is found, and how the two compare."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from minillm.estimate.units import Number


class Verdict(Enum):
    """The result of checking a claim."""

    TRUE = "true"
    TRUE_IF = "true if"  # the note names the condition
    IMPRECISE = "imprecise"  # the note has the better value
    FALSE = "false"  # the note has the right value
    UNCHECKABLE = "not checkable"


@dataclass(frozen=True)
class Finding:
    """Result of a claim's function.

    Attributes:
        verdict: of the claim with these inputs.
        note: the condition, or the better or right value; may be empty.
        figure: the result of the computation or run, on one line.
        working: the steps of the computation, with the numbers put in.
    """

    verdict: Verdict
    note: str
    figure: str
    working: tuple[str, ...]


def finding(verdict: Verdict, note: str, figure: str, *working: str) -> Finding:
    """Return a Finding; without working, the figure is the only step."""
    return Finding(verdict, note, figure, working or (figure,))


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        id: unique name.
        section: of the article.
        quote: the words of the article.
        function: computes or runs what the claim says, and judges it.
        runs: whether the function runs the engine.
        corrects: the wrong result of an earlier calculation by hand, and the reason; empty if it agreed with code.
    """

    id: str
    section: str
    quote: str
    function: Callable[..., Finding]
    runs: bool = False
    corrects: str = ""

    @property
    def inputs(self) -> dict[str, Any]:
        """Return the inputs that can be varied, each with the value that the claim implies."""
        return {name: p.default for name, p in inspect.signature(self.function).parameters.items()}

    @property
    def meaning(self) -> str:
        """Return one sentence that says what the function checks: its docstring."""
        return " ".join((self.function.__doc__ or "").split())

    def judge(self, settings: Mapping[str, str] | None = None) -> Finding:
        """Compute or run the claim, with `settings` for some inputs.

        The note explains the verdict on the claim as the article states it. If other inputs change the verdict, the
        note says that.

        Raises:
            ValueError: an input does not exist, its value is invalid, or no figure can be computed from it.
        """
        changed = self.parsed(settings or {})
        found = self._found(changed)
        if not changed or found.verdict is (standing := self._found({})).verdict:
            return found
        as_it_stands = standing.verdict.value + (f" ({standing.note})" if standing.note else "")
        return replace(found, note=f"with these inputs; as the article has it, {as_it_stands}")

    def parsed(self, settings: Mapping[str, str]) -> dict[str, Any]:
        """Convert inputs from text to the types of their defaults.

        Raises:
            ValueError: an input does not exist, or its value is invalid.
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
            expected = "an integer" if kind is int else "a number"
            raise ValueError(f"{self.id}: {name} is {text[:40]!r}; expected {expected}") from None
        most = 1_000_000 if kind is int else 1e18  # loops run over integers
        if kind is not str and (not math.isfinite(value) or not 0 <= value <= most):
            raise ValueError(f"{self.id}: {name} is {text[:40]!r}; expected a number from 0 to {most:g}")
        return value


class Section:
    """One section of the article; collects its claims as they are defined."""

    def __init__(self, title: str) -> None:
        self.title, self.claims = title, list[Claim]()

    def claim(
        self, id: str, quote: str, runs: bool = False, corrects: str = ""
    ) -> Callable[[Callable[..., Finding]], Callable[..., Finding]]:
        """Return a decorator that makes a function a claim of this section; for the arguments see Claim."""

        def add(function: Callable[..., Finding]) -> Callable[..., Finding]:
            self.claims.append(Claim(id, self.title, quote, function, runs, corrects))
            return function

        return add


def ms(seconds: Number) -> str:
    """Return seconds as milliseconds with three digits: 0.00648 as '6.48 ms'."""
    return f"{digits(seconds * 1000)} ms"


def gb(bytes_: Number) -> str:
    """Return bytes as gigabytes: '13.5 GB'."""
    return f"{digits(bytes_ / 1e9)} GB"


def digits(value: Number) -> str:
    """Return three significant digits, without an exponent below 1e15: 0.0648, 6.48, 648, 6,480."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
