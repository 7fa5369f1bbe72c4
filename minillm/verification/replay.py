"""Replay: make the calls of a failing example again, and find the first result that differs.

A property compares some results only. So the first wrong result can be earlier than the one that was noticed. The model
of a cache is a list of (token, position), as in `edited_cache.py`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.verification.calls import Call
from minillm.verification.comparison import relative_difference
from minillm.verification.edited_cache import Pair, appended, from_zero, is_plain, removed, shifted
from minillm.verification.engine_under_test import UNNAMED, EngineUnderTest
from minillm.verification.handles import Handle, replaced

Pairs = list[Pair]


@dataclass(frozen=True)
class Step:
    """The first result that differs.

    Attributes:
        calls: the calls until then; the last one gave the result.
        cache: the name of the cache.
        before: the cache before the call.
        new: the tokens of the call.
        found, expected: the logits `[vocab]`.
        others: the other caches at this time, and those of the same batch, by name.
        dropped: all that was ever appended to the cache; None if nothing was dropped.
    """

    calls: tuple[Call, ...]
    cache: str
    before: Pairs
    new: list[int]
    found: Array
    expected: Array
    others: dict[str, Pairs]
    dropped: Pairs | None

    @property
    def call(self) -> Call:
        """The call that gave the result."""
        return self.calls[-1]

    @property
    def pairs(self) -> Pairs:
        """The tokens and positions that the logits should be for."""
        return appended(self.before, self.new)


@dataclass
class Replay:
    """The caches of a replay: in the engine, and what should be in them.

    Attributes:
        engine: an engine in a new example.
        handles: the caches by name.
        pairs: what should be in each.
        history: all that was ever appended to each.
    """

    engine: EngineUnderTest
    handles: dict[str, Handle] = field(default_factory=dict)
    pairs: dict[str, Pairs] = field(default_factory=dict)
    history: dict[str, Pairs] = field(default_factory=dict)

    def make(self, call: Call) -> Any:
        """Make one call, with the caches of this example. Return its result.

        Raises:
            EngineFailed: as in the failing example.
        """
        arguments = replaced(list(call.arguments), self._own)
        result = self.engine.call(call.name, *arguments, returns=call.returns)
        made = [result] if isinstance(result, Handle) else result if call.returns == "caches" else []
        self.handles.update(zip((handle.name for handle in call.handles), made, strict=True))
        return result

    def _own(self, value: Any) -> Any:
        if not isinstance(value, Handle):
            return value
        if value.name == UNNAMED:  # the engine's own reference
            return self.engine.call("new_cache", returns="cache")
        return self.handles[value.name]

    def follow(self, call: Call) -> None:
        """Do with the model what the call should do with the caches."""
        names = [handle.name for handle in call.handles]
        copied = SOURCES[call.name](*call.arguments) if call.name in SOURCES else [None] * len(names)
        for name, source in zip(names, copied, strict=True):
            self.pairs[name] = list(self.pairs[source.name][: _length(call)]) if source else []
            self.history[name] = list(self.pairs[source.name]) if source else []  # a prefix drops what comes after it
        if call.name in EDITS:
            cache, *numbers = call.arguments
            self.pairs[cache.name] = EDITS[call.name](self.pairs[cache.name], *numbers)
        if call.name == "keep":
            self.pairs = {name: pairs if name == call.arguments[0].name else [] for name, pairs in self.pairs.items()}

    def append(self, name: str, tokens: Sequence[int]) -> None:
        """Append tokens to the model of a cache."""
        before, after = self.pairs[name], appended(self.pairs[name], tokens)
        self.pairs[name], self.history[name] = after, self.history[name] + after[len(before) :]

    def expected(self, pairs: Pairs) -> Array | None:
        """Return the logits `[vocab]` after the last pair, or None if they are not known."""
        if self.engine.config is None:  # of the edits, only those are made that leave no gap
            pairs = from_zero(pairs)
        return self.engine.naive([token for token, _ in pairs]) if is_plain(pairs) else self.engine.edited(pairs)


SOURCES: dict[str, Callable[..., Sequence[Any]]] = {  # the caches that new ones are copies of
    "fork": lambda cache: [cache],
    "copy_prefix": lambda cache, length: [cache],
    "save": lambda cache: [cache],
    "restore": lambda state: [state],
    "reorder": lambda caches, order: [caches[index] for index in order],
}
EDITS: dict[str, Callable[..., Pairs]] = {
    "truncate": lambda pairs, length: pairs[:length],
    "remove": removed,
    "shift": shifted,
}


def _length(call: Call) -> int | None:
    return call.arguments[1] if call.name == "copy_prefix" else None


def sequences(call: Call) -> Iterator[tuple[list[int], Handle]]:
    """Yield the tokens that a call appends, and the cache of each."""
    if call.name == "decode":
        yield [call.arguments[0]], call.arguments[1]
    elif call.name == "prefill":
        yield list(call.arguments[0]), call.arguments[1]
    elif call.name == "batch":
        yield from ((list(tokens), cache) for tokens, cache in call.arguments[0])


def first_difference(calls: Sequence[Call], engine: EngineUnderTest) -> Step | None:
    """Make the calls in a new example. Return the first result that differs, or None.

    Raises:
        EngineFailed: if a call fails otherwise.
    """
    replay = Replay(engine)
    for number, call in enumerate(calls, start=1):
        result = replay.make(call)
        replay.follow(call)
        before = {name: list(pairs) for name, pairs in replay.pairs.items()}
        new = list(sequences(call))
        for tokens, cache in new:
            replay.append(cache.name, tokens)
        rows = [result] if call.returns == "logits" else result
        for row, (tokens, cache) in enumerate(new):
            expected = replay.expected(replay.pairs[cache.name])
            if expected is None or relative_difference(rows[row], expected).max() <= engine.tolerance:
                continue
            others = {name: pairs for name, pairs in replay.pairs.items() if name != cache.name}
            history = replay.history[cache.name]
            dropped = history if len(history) > len(replay.pairs[cache.name]) else None
            found = np.asarray(rows[row])
            return Step(tuple(calls[:number]), cache.name, before[cache.name], tokens, found, expected, others, dropped)
    return None
