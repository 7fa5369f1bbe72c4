"""Any sequence of operations on several caches. The model of a cache is a list of (token, position) pairs.

Many engines apply an edit only in the next pass, and a state that is saved before would lack it. So a cache is often
replaced, directly after an operation, by what is restored from its saved state.

A refused call leaves the caches as they were. So the schedule goes on without it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar, TypeVar, cast

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from minillm.arrays import Array
from minillm.verification.cache_properties import LARGEST_SHIFT, is_editable, shifts
from minillm.verification.drawing import sized_lists
from minillm.verification.edited_cache import Pair, appended, is_plain, removed, shifted
from minillm.verification.engine_protocol import Engine
from minillm.verification.refusals import Halfway, Patience, Refused

SCHEDULE_TOKENS, MOST_CACHES = 40, 4
MOST_STATES = 3

Rule = TypeVar("Rule", bound=Callable[..., Any])


def _can(*names: str) -> Callable[[Rule], Rule]:
    return precondition(lambda machine: all(machine.engine.has(name) for name in names))


def _can_edit(name: str) -> Callable[[Rule], Rule]:
    return precondition(lambda machine: machine.engine.has(name) and is_editable(machine.engine))


def _may_be_refused(operation: Rule) -> Rule:
    @wraps(operation)
    def unless_refused(machine: "CacheSchedules", *arguments: Any, **named: Any) -> None:
        try:
            operation(machine, *arguments, **named)
        except Refused:
            pass
        except Halfway:
            reject()

    return cast(Rule, unless_refused)


_has_room = precondition(lambda machine: len(machine.caches) < MOST_CACHES)


class CacheSchedules(RuleBasedStateMachine):
    """Any sequence of operations must leave the expected tokens, at the expected positions, in each cache.

    Subclasses set `engines` and `patience`.
    """

    engines: ClassVar[st.SearchStrategy[Engine]]
    patience: ClassVar[Patience]

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Begin with one cache, which is empty or has some tokens."""
        self.caches: list[Any] = []
        self.cached: list[list[Pair]] = []  # what must be in each cache
        self.states: list[tuple[Any, list[Pair]]] = []  # saved states, and what must be in them
        with self.patience.example():
            self.engine = data.draw(self.engines)
            self.most_tokens = SCHEDULE_TOKENS + 3 * max(self.engine.sizes, default=0)
            self.add(self.engine.new_cache(self.most_tokens), [])
        if new := data.draw(sized_lists(self.engine, 8, min_size=0)):
            self.append(0, new)

    def add(self, cache: Any, cached: list[Pair]) -> None:
        """Add a cache with these tokens."""
        self.caches.append(cache)
        self.cached.append(list(cached))

    def draw_cache(self, data: st.DataObject) -> int:
        """Return the index of one of the caches."""
        return data.draw(st.integers(0, len(self.caches) - 1))

    def draw_index(self, data: st.DataObject, number: int, least: int = 0) -> int:
        """Return an index into the tokens of a cache, often the least one. The end of its tokens is possible, too."""
        return data.draw(st.just(least) | st.integers(least, len(self.cached[number])))

    def draw_tokens(self, data: st.DataObject, number: int) -> list[int]:
        """Return new tokens for a cache, or an empty list if it is full."""
        used = self.cached[number][-1].position + 1 if self.cached[number] else 0
        room = self.most_tokens - used
        return data.draw(sized_lists(self.engine, min(8, room), min_size=min(1, room)))[:room]

    @_may_be_refused
    def append(self, number: int, new: list[int], chunk: int | None = None) -> None:
        """Append tokens to a cache, and check the logits."""
        logits = self.engine.prefill(new, self.caches[number], chunk)
        self.cached[number] = appended(self.cached[number], new)
        self.check(number, logits)

    def check(self, number: int, logits: Array) -> None:
        """Compare the logits after the last token of a cache with those of its pairs."""
        pairs = self.cached[number]
        tokens = [token for token, _ in pairs]
        expected = self.engine.naive(tokens) if is_plain(pairs) else self.engine.edited(pairs)
        if expected is not None:
            self.engine.assert_same(logits, expected)
        self.engine.assert_length(self.caches[number], len(pairs))

    def changed(self, number: int, cached: list[Pair], data: st.DataObject) -> None:
        """Set the model of a cache after an operation. Often, save and restore the cache, and look at it."""
        self.cached[number] = cached
        if self.engine.has("save") and self.engine.has("restore") and data.draw(st.booleans()):
            before = self.caches[number]
            self.caches[number] = self.engine.restore(self.engine.save(before))
            if self.engine.has("release"):
                self.engine.release(before)
        if data.draw(st.booleans()):
            self.look_at(number)

    def look_at(self, number: int) -> None:
        """Append one token to a cache, if there is room, and compare the logits."""
        cached = self.cached[number]
        if not cached or cached[-1].position + 1 < self.most_tokens:
            self.append(number, [0])

    @rule(data=st.data(), chunk=st.none() | st.integers(1, 9))
    def prefill(self, data: st.DataObject, chunk: int | None) -> None:
        """Append several tokens."""
        number = self.draw_cache(data)
        if new := self.draw_tokens(data, number):
            self.append(number, new, chunk)
            self.changed(number, self.cached[number], data)

    @_can("decode")
    @rule(data=st.data())
    @_may_be_refused
    def decode(self, data: st.DataObject) -> None:
        """Append one token."""
        number = self.draw_cache(data)
        if new := self.draw_tokens(data, number)[:1]:
            logits = self.engine.decode(new[0], self.caches[number])
            self.cached[number] = appended(self.cached[number], new)
            self.check(number, logits)
            self.changed(number, self.cached[number], data)

    @_can("batch")
    @rule(data=st.data())
    @_may_be_refused
    def batch(self, data: st.DataObject) -> None:
        """Append tokens to all caches at once."""
        drawn = {number: self.draw_tokens(data, number) for number in range(len(self.caches))}
        new = {number: tokens for number, tokens in drawn.items() if tokens}
        if new:
            logits = self.engine.batch([(tokens, self.caches[number]) for number, tokens in new.items()])
            for number, tokens in new.items():
                self.cached[number] = appended(self.cached[number], tokens)
            for number, row in zip(new, logits, strict=True):
                self.check(number, row)

    @rule()
    def look_at_every_cache(self) -> None:
        """Append one token to each cache, one cache after another. An operation on one must not change the others."""
        for number in range(len(self.caches)):
            self.look_at(number)

    @_can("truncate")
    @rule(data=st.data())
    @_may_be_refused
    def truncate(self, data: st.DataObject) -> None:
        """Drop some of the last tokens."""
        number = self.draw_cache(data)
        length = self.draw_index(data, number)
        self.engine.truncate(self.caches[number], length)
        self.changed(number, self.cached[number][:length], data)

    @_has_room
    @rule()
    @_may_be_refused
    def new_cache(self) -> None:
        """Add an empty cache."""
        self.add(self.engine.new_cache(self.most_tokens), [])

    @_can("fork")
    @_has_room
    @rule(data=st.data())
    @_may_be_refused
    def fork(self, data: st.DataObject) -> None:
        """Add a fork of a cache."""
        number = self.draw_cache(data)
        self.add(self.engine.fork(self.caches[number]), self.cached[number])
        self.changed(len(self.caches) - 1, self.cached[-1], data)

    @_can("copy_prefix")
    @_has_room
    @rule(data=st.data())
    @_may_be_refused
    def copy_prefix(self, data: st.DataObject) -> None:
        """Add a copy of the first tokens of a cache."""
        number = self.draw_cache(data)
        length = self.draw_index(data, number)
        self.add(self.engine.copy_prefix(self.caches[number], length), self.cached[number][:length])
        self.changed(len(self.caches) - 1, self.cached[-1], data)

    @_can_edit("remove")
    @rule(data=st.data())
    @_may_be_refused
    def remove(self, data: st.DataObject) -> None:
        """Drop tokens in the middle."""
        number = self.draw_cache(data)
        begin = self.draw_index(data, number)
        end = self.draw_index(data, number, begin)
        self.engine.remove(self.caches[number], begin, end)
        self.changed(number, removed(self.cached[number], begin, end), data)

    @_can_edit("shift")
    @rule(data=st.data())
    @_may_be_refused
    def shift(self, data: st.DataObject) -> None:
        """Change the positions of the last tokens. They stay after those of the tokens before."""
        number = self.draw_cache(data)
        cached = self.cached[number]
        begin = self.draw_index(data, number)
        if begin < len(cached) and cached[-1].position + LARGEST_SHIFT < self.most_tokens:
            by = data.draw(shifts(cached, begin))
            self.engine.shift(self.caches[number], begin, by)
            self.changed(number, shifted(cached, begin, by), data)

    @_can("keep")
    @rule(data=st.data())
    @_may_be_refused
    def keep(self, data: st.DataObject) -> None:
        """Empty all caches but one."""
        number = self.draw_cache(data)
        self.engine.keep(self.caches[number])
        self.cached = [cached if n == number else [] for n, cached in enumerate(self.cached)]
        self.changed(number, self.cached[number], data)

    @_can("reorder")
    @rule(data=st.data())
    @_may_be_refused
    def reorder(self, data: st.DataObject) -> None:
        """Replace all caches by some of them."""
        count = len(self.caches)
        order = data.draw(st.lists(st.integers(0, count - 1), min_size=count, max_size=count))
        self.caches = list(self.engine.reorder(self.caches, order))
        self.cached = [self.cached[number] for number in order]

    @_can("save", "restore")
    @precondition(lambda machine: len(machine.states) < MOST_STATES)
    @rule(data=st.data())
    @_may_be_refused
    def save(self, data: st.DataObject) -> None:
        """Save the state of a cache, to be restored later."""
        number = self.draw_cache(data)
        self.states.append((self.engine.save(self.caches[number]), self.cached[number]))

    @_can("save", "restore")
    @_has_room
    @precondition(lambda machine: machine.states)
    @rule(data=st.data())
    @_may_be_refused
    def restore(self, data: st.DataObject) -> None:
        """Add a cache with a saved state, perhaps once more."""
        state, cached = self.states[data.draw(st.integers(0, len(self.states) - 1))]
        self.add(self.engine.restore(state), cached)

    @_can("release")
    @precondition(lambda machine: len(machine.caches) > 1)
    @rule(data=st.data())
    @_may_be_refused
    def release(self, data: st.DataObject) -> None:
        """Free a cache. The others stay as they are, and later ones begin empty."""
        number = self.draw_cache(data)
        self.engine.release(self.caches[number])
        del self.caches[number], self.cached[number]
