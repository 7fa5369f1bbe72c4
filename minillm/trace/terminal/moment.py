"""Moment: a step of a run, as a view draws it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from minillm.estimate.work import Tokens, visible_keys
from minillm.trace.reader import Trace
from minillm.trace.state import Line, State, new_state
from minillm.trace.terminal.characters import visible


@dataclass(frozen=True)
class Moment:
    """A step of a run, and what of it a view shows.

    Attributes:
        trace: the run.
        step: the step; views show the state after it.
        width: columns of a line.
        request, layer, head: what is shown where a view has room for one; None leaves the choice to the view.
    """

    trace: Trace
    step: int
    width: int
    request: int | None = None
    layer: int | None = None
    head: int | None = None

    @cached_property
    def state(self) -> State:
        """The state after the step."""
        return self.trace.state(self.step)

    @cached_property
    def before(self) -> State:
        """The state before the step."""
        return self.trace.state(self.step - 1) if self.step else new_state()

    @property
    def lines(self) -> list[Line]:
        """The lines of the step."""
        return self.trace.states.steps[self.step]

    def of(self, kind: str) -> list[Line]:
        """Return the lines of a kind in this step."""
        return [line for line in self.lines if line["t"] == kind]

    @property
    def passed(self) -> Line | None:
        """The pass of the model that answers; step 0 has none, and an interrupted step may have none."""
        return next((line for line in self.of("pass") if line["model"] == 0), None)

    def row(self, request: int) -> Line | None:
        """Return what a request has in the pass; None if nothing."""
        rows: list[Line] = self.passed["rows"] if self.passed else []
        return next((row for row in rows if row["id"] == request), None)

    def token(self, token: int) -> str:
        """Return the text of a token, with a sign for each space."""
        text = self.trace.texts.get(token)
        return f"#{token}" if text is None else visible(text) or "(empty)"

    def chosen(self, requests: Sequence[int]) -> int:
        """Return which of these requests is shown."""
        return self.request if self.request is not None and self.request in requests else requests[0]


def sequence_of(request: Line) -> list[Any]:
    """Return the tokens of a request: its prompt, and what came of it."""
    return [*request["prompt"], *request["tokens"]]


def token_bytes(trace: Trace) -> float:
    """Return the bytes of a token's keys and values in all layers, from what a pass read; 0 if none has run."""
    line = next(
        (line for line in trace.lines if line["t"] == "pass" and line["model"] == 0 and line["cache_bytes"]), None
    )
    if line is None:
        return 0.0
    windows = trace.states.models[0]["config"]["sliding_windows"]
    rows = [Tokens(row["count"], row["first"]) for row in line["rows"]]
    keys = sum(visible_keys(tokens, window) for tokens in rows for window in windows)
    return float(line["cache_bytes"] * len(windows) / keys) if keys else 0.0
