"""Replay: run a schedule on any engine. What a schedule asks of an engine is a `Machine`."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from minillm.arrays import Array, Float
from minillm.bisection.schedule import Planned, Schedule, plan

MOST_FIRST = 8  # tokens of another sequence in its first pass; then it runs one token in each pass


class Part(NamedTuple):
    """The new tokens of one sequence in a pass.

    Attributes:
        sequence: 0 for the sequence of the prompt, 1 and more for the others; None for wrong tokens.
        first: the position of the first token.
        tokens: the new tokens.
        cache: the cache they extend, which holds `first` tokens.
    """

    sequence: int | None
    first: int
    tokens: list[int]
    cache: Any


class Machine(Protocol):
    """An engine, as schedules use it."""

    vocab_size: int

    def prepare(self, schedule: Schedule, longest: int, caches: int) -> None:
        """Reserve memory for some caches of at most `longest` tokens each."""

    def new_cache(self) -> Any:
        """Return an empty cache."""

    def run(self, parts: Sequence[Part]) -> Float[Array, "parts vocab"]:
        """Run the new tokens of all parts in one pass, and return the logits after the last token of each."""

    def truncate(self, cache: Any, length: int) -> None:
        """Drop the tokens from index `length` on."""

    def fork(self, cache: Any) -> Any:
        """Return an independent cache with the same tokens."""

    def copy_prefix(self, cache: Any, length: int) -> Any:
        """Return an independent cache with the first `length` tokens."""

    def free(self, cache: Any) -> None:
        """Give the memory of a cache back."""

    def swap(self, cache: Any) -> Any:
        """Copy the tokens of a cache out, and return a cache into which they were copied back."""


def replay(schedule: Schedule, tokens: list[int], prompt_tokens: int, machine: Machine) -> None:
    """Run all tokens through the machine, in the passes of the schedule.

    Args:
        schedule: the schedule.
        tokens: the prompt, and the tokens after it.
        prompt_tokens: the number of tokens in the prompt.
        machine: the engine.

    Raises:
        ValueError: the schedule does not fit the tokens, or the engine cannot do what it says. The first is noticed
            before anything runs.
    """
    steps = plan(schedule, prompt_tokens, len(tokens))
    guessed = max((step.tokens for step in steps if step.do == "guess"), default=0)
    longest = max(len(tokens) + max(guessed, 1), len(steps) + MOST_FIRST)
    copies = sum(step.do in ("fork", "copy") for step in steps)
    machine.prepare(schedule, longest, 1 + schedule.others + copies)
    Replay(schedule, tokens, machine).do(steps)


class Replay:
    """One run of a schedule: the cache of its sequence, and the other sequences of its batches."""

    def __init__(self, schedule: Schedule, tokens: list[int], machine: Machine) -> None:
        self.schedule, self.tokens, self.machine = schedule, tokens, machine
        self.cache = machine.new_cache()
        self.originals: list[Any] = []  # of copies: they keep their blocks to the end
        self.untouched: list[tuple[Any, int]] = []  # originals that have not run a wrong token, and their lengths
        self.others = [machine.new_cache() for _ in range(schedule.others)]
        self.lengths = [0] * schedule.others

    def do(self, steps: Sequence[Planned]) -> None:
        """Do all that is planned."""
        for step in steps:
            match step.do:
                case "run":
                    self._run(step.first, step.tokens)
                case "truncate":
                    self.machine.truncate(self.cache, step.first)
                case "guess":
                    self._run_wrong(self.cache, step.first, step.tokens)
                    self.machine.truncate(self.cache, step.first)
                case "fork":
                    self._leave(step.first)
                    self.cache = self.machine.fork(self.cache)
                case "copy":
                    self._leave(step.tokens)
                    self.cache = self.machine.copy_prefix(self.cache, step.first)
                case "free":
                    self.machine.free(self.cache)
                    self.cache = self.machine.new_cache()
                case "swap":
                    self.cache = self.machine.swap(self.cache)

    def _leave(self, length: int) -> None:
        """Keep the cache as the original of a copy, in which the run goes on."""
        self.originals.append(self.cache)
        self.untouched.append((self.cache, length))

    def _run(self, first: int, count: int) -> None:
        """Run tokens of the sequence, and some of each other sequence, in one pass."""
        part = Part(0, first, self.tokens[first : first + count], self.cache)
        parts = [part, *(self._other(number) for number in range(len(self.others)))]
        if self.schedule.naive:
            parts = [self._from_nothing(part) for part in parts]
        self.machine.run(parts)
        for part in parts if self.schedule.naive else ():
            self.machine.free(part.cache)
        self.lengths = [part.first + len(part.tokens) for part in parts[1:]]
        while self.untouched:  # after the copy, which would write the same slot again
            self._run_wrong(*self.untouched.pop(), 1)

    def _other(self, number: int) -> Part:
        """Return the part of another sequence, the prompt turned round: some tokens at first, then one in a pass."""
        first, cache = self.lengths[number], self.others[number]
        count = 1 if first else 1 + number % MOST_FIRST
        return Part(number + 1, first, self._turned(number, first, count), cache)

    def _turned(self, number: int, first: int, count: int) -> list[int]:
        return [self.tokens[(number + 1 + index) % len(self.tokens)] for index in range(first, first + count)]

    def _from_nothing(self, part: Part) -> Part:
        """Return the part with all the tokens before it, and an empty cache."""
        if part.sequence == 0:
            before = self.tokens[: part.first]
        else:
            before = self._turned(part.sequence - 1, 0, part.first)  # type: ignore[operator]  # it has a number
        return Part(part.sequence, 0, before + part.tokens, self.machine.new_cache())

    def _run_wrong(self, cache: Any, first: int, count: int) -> None:
        """Run tokens that are not those of the sequence."""
        right = [self.tokens[index % len(self.tokens)] for index in range(first, first + count)]
        wrong = [(token + 1) % self.machine.vocab_size for token in right]
        self.machine.run([Part(None, first, wrong, cache)])
