"""Recorded: a schedule as a trace, so that the page of a trace can step through it: each pass of it is a step.

The schedule runs once more, on minillm's own engine. Its tokens are given, so each sequence is a request whose prompt
has them all. A copy of a cache is a new request, as samples of one prompt are. Wrong tokens, as `guess` runs them,
belong to no request.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from minillm.arrays import Array, Float
from minillm.bisection.local import OurMachine
from minillm.bisection.observer import Observer
from minillm.bisection.replay import MOST_FIRST, Part, replay
from minillm.bisection.schedule import Schedule, plan
from minillm.completion import Completion
from minillm.events import Admitted, Preempted, listening, tell
from minillm.model import Model
from minillm.trace.reader import Trace
from minillm.trace.recorder import Recorder
from minillm.trace.schema import FORMAT, VERSION
from minillm.trace.states import States

Line = dict[str, Any]
HEADER = {"t": "header", "format": FORMAT, "version": VERSION, "detail": "tokens", "clock": "steps"}


def recorded(model: Model, schedule: Schedule, tokens: list[int], prompt_tokens: int) -> Trace:
    """Return the trace of a schedule.

    Args:
        model: the model.
        schedule: the schedule.
        tokens: the prompt, and the tokens after it.
        prompt_tokens: the number of tokens in the prompt.

    Raises:
        ValueError: minillm's caches cannot do what the schedule says, or there is not enough memory.
    """
    if schedule.naive:
        schedule = replace(schedule, others=0)  # without a cache, a trace cannot tell the sequences of a pass apart
    lines: list[Line] = []
    recorder = Recorder(lines.append, "tokens", times=False)
    machine = TellingMachine(model, schedule, tokens, prompt_tokens)
    with listening(recorder.hear):
        replay(schedule, tokens, prompt_tokens, machine)
    recorder.close()
    assert not recorder.problem, recorder.problem
    return _trace([_true(line, prompt_tokens, machine.wrong) for line in lines])


class TellingMachine(OurMachine):
    """Our own engine, which tells of its sequences as requests.

    Attributes:
        wrong: the numbers of the passes that ran wrong tokens, from 1.
    """

    def __init__(self, model: Model, schedule: Schedule, tokens: list[int], prompt_tokens: int) -> None:
        super().__init__(model, Observer(model))
        self.tokens, self.prompt_tokens, self.passes, self.wrong = tokens, prompt_tokens, 0, set[int]()
        self.runs = sum(step.do == "run" for step in plan(schedule, prompt_tokens, len(tokens)))
        self.requests: dict[int, Completion] = {}  # of each sequence
        self.known: list[Any] = []  # caches that a request began or resumed with; None without a cache

    def run(self, parts: Sequence[Part]) -> Float[Array, "parts vocab"]:
        """Run one pass."""
        self.passes += 1
        for part in parts:
            self._meet(part.sequence or 0, None if self._schedule.naive else part.cache)
            if part.sequence is None:
                self.wrong.add(self.passes)
        return super().run(parts)

    def fork(self, cache: Any) -> Any:
        """Copy a cache: the copy begins with its tokens."""
        self._meet(0, cache)
        return self._copied(super().fork(cache))

    def copy_prefix(self, cache: Any, length: int) -> Any:
        """Copy a cache, and cut the copy."""
        self._meet(0, cache)
        return self._copied(super().copy_prefix(cache, length))

    def free(self, cache: Any) -> None:
        """Give the blocks back."""
        super().free(cache)
        if self._knows(cache):
            tell(Preempted(self.requests[0], 0))

    def _copied(self, copy: Any) -> Any:
        """Let the copy be that of a new request."""
        del self.requests[0]
        self._admit(0, copy, copy.length)
        return copy

    def _knows(self, cache: Any) -> bool:
        return any(cache is known for known in self.known)

    def _meet(self, sequence: int, cache: Any) -> None:
        """Let a sequence begin or resume, if the cache is new."""
        if not self._knows(cache):
            self._admit(sequence, cache, 0)

    def _admit(self, sequence: int, cache: Any, known: int) -> None:
        if sequence not in self.requests:
            self.requests[sequence] = self._request(sequence)
            tell(self.requests[sequence].submitted())
        self.known.append(cache)
        tell(Admitted(self.requests[sequence], cache, known, 0))

    def _request(self, sequence: int) -> Completion:
        """Return a request with all tokens of a sequence. Those of others are the same, turned round: see `Replay`."""
        first = 1 + (sequence - 1) % MOST_FIRST  # tokens of another sequence in its first pass
        count, prompt_tokens = (first + self.runs - 1, first) if sequence else (len(self.tokens), self.prompt_tokens)
        request = Completion([self.tokens[(sequence + index) % len(self.tokens)] for index in range(count)], 0)
        request.prompt_tokens = prompt_tokens
        return request


def _true(line: Line, prompt_tokens: int, wrong: set[int]) -> Line:
    """Return a line whose rows say what they are: the recorder takes them for those of a request that decodes."""
    if line["t"] != "pass":
        return line
    rows = [_true_row(row, prompt_tokens, line["s"] in wrong) for row in line["rows"]]
    return line | {"rows": rows}


def _true_row(row: Line, prompt_tokens: int, wrong: bool) -> Line:
    known = wrong or (row["phase"] == "recompute" and row["first"] >= prompt_tokens)
    phase = ("verify" if row["count"] > 1 else "decode") if known else row["phase"]
    return row | {"id": None if wrong else row["id"], "phase": phase}


def _trace(lines: list[Line]) -> Trace:
    states = States()
    for line in lines:
        states.add(line)
    end = {"t": "end", "s": len(states.steps) - 1, "lines": len(lines) + 1}
    states.add(end)
    return Trace(HEADER, [*lines, end], states)
