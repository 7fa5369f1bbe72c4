"""Failure: one failing example of an engine, and when two failures have the same cause."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minillm.config import ModelConfig
from minillm.verification.calls import Call

WRONG, CRASHED, HUNG = "wrong", "crashed", "hung"
APPENDS = ("prefill", "decode", "batch")
SAME_AS = {"decode": "prefill"}  # most engines have one function for both


@dataclass(frozen=True)
class Failure:
    """One failing example.

    Attributes:
        verdict: WRONG, CRASHED or HUNG.
        what: what is wrong, in one or more lines.
        title: the model.
        calls: the calls until then.
        config: the model for make_engine; None if the engine has its own.
        kind: the type of the exception or the signal; "" for a wrong result.
    """

    verdict: str
    what: str
    title: str
    calls: tuple[Call, ...]
    config: ModelConfig | None
    kind: str = ""

    @property
    def text(self) -> str:
        """The report: the model, the calls, what is wrong."""
        return f"{self.example}\n{self.what}"

    @property
    def example(self) -> str:
        """The model and the calls."""
        return "\n".join([self.title, *(f"    {call}" for call in self.calls)])

    def explains(self, other: "Failure") -> bool:
        """Return whether the other failure probably has the same cause.

        An exception, a crash or a hang has, if it comes from the same function. A wrong result has, if the other's
        calls include all calls of this one in the same order, with no fewer tokens, and the last call is one of them:
        the results before it were right.
        """
        if (self.verdict, self.kind) != (other.verdict, other.kind) or not (self.calls and other.calls):
            return False
        if self.kind or self.verdict != WRONG:
            return _function(self.calls[-1]) == _function(other.calls[-1])
        return _include(other.calls, self.calls) and not _include(other.calls[:-1], self.calls)

    @property
    def kinds(self) -> set[str]:
        """The kinds of calls: an append, or another function."""
        return {"append" if call.name in APPENDS else call.name for call in self.calls}


def _function(call: Call) -> str:
    return SAME_AS.get(call.name, call.name)


def _include(calls: Sequence[Call], others: Sequence[Call]) -> bool:
    """Return whether all other calls are among the calls, in the same order."""
    later = iter(calls)
    return all(any(_contains(call, one) for call in later) for one in others)


def _contains(call: Call, other: Call) -> bool:
    same = _function(call) == _function(other) and _option_names(call) >= _option_names(other)
    return same and count_numbers(call.arguments) >= count_numbers(other.arguments)


def _option_names(call: Call) -> set[str]:
    return {name for argument in call.arguments if isinstance(argument, dict) for name in argument}


def count_numbers(value: Any) -> int:
    """Return how many numbers are in the arguments of a call, such as tokens."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return sum(map(count_numbers, value))
    return int(isinstance(value, int))


class EngineFailed(AssertionError):
    """Raised when an engine fails. Hypothesis shrinks examples with the same type of exception.

    Attributes:
        failure: the failing example.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class EngineCrashed(EngineFailed):
    """Raised when the process of the engine ends."""


class EngineHung(EngineFailed):
    """Raised when a call takes too long."""


RAISED = {WRONG: EngineFailed, CRASHED: EngineCrashed, HUNG: EngineHung}
