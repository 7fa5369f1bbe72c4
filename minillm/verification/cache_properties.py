"""Properties of every engine with a KV cache: each schedule gives the logits of the naive path.

The properties need only six functions of an engine. So they run on minillm's own engine (tests/properties) and on a
learner's engine (`pytest --minillm-engine`). They need Hypothesis, which shrinks a counterexample to a small one.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from minillm.arrays import Array

CAPACITY = 150  # tokens that must fit into a cache
SCHEDULE_TOKENS, MOST_CACHES = 40, 4


@runtime_checkable
class Engine(Protocol):
    """An engine under test. A cache can be of any type."""

    vocab_size: int

    def has(self, name: str) -> bool:
        """Return whether the engine has the function."""

    def naive(self, tokens: Sequence[int]) -> Array:
        """Return the logits `[vocab]` after the last token, computed without a cache: the expected result."""

    def new_cache(self, capacity: int) -> Any:
        """Return an empty cache with room for `capacity` tokens."""

    def prefill(self, tokens: Sequence[int], cache: Any, chunk: int | None = None) -> Array:
        """Append tokens, at most `chunk` per pass. Return the logits `[vocab]` after the last one."""

    def decode(self, token: int, cache: Any) -> Array:
        """Append one token. Return the logits `[vocab]` after it."""

    def batch(self, batch: Sequence[tuple[Sequence[int], Any]]) -> Array:
        """Append new tokens to several caches. Return the logits `[vocab]` after the last token of each."""

    def truncate(self, cache: Any, length: int) -> None:
        """Drop all tokens from index `length` on."""

    def fork(self, cache: Any) -> Any:
        """Return an independent cache with the same tokens."""

    def assert_same(self, found: Array, expected: Array) -> None:
        """Raise AssertionError if the logits differ by more than rounding."""

    def assert_length(self, cache: Any, length: int) -> None:
        """Raise AssertionError if the cache does not have `length` tokens. Do nothing if its length is not known."""


def token_lists(vocab_size: int, max_size: int, min_size: int = 1) -> st.SearchStrategy[list[int]]:
    """Return a strategy for lists of token ids."""
    return st.lists(st.integers(0, vocab_size - 1), min_size=min_size, max_size=max_size)


def prefill_is_naive(engine: Engine, data: st.DataObject) -> None:
    """Prefill into an empty cache must give the reference's logits."""
    prompt = data.draw(token_lists(engine.vocab_size, 12))
    cache = engine.new_cache(CAPACITY)
    engine.assert_same(engine.prefill(prompt, cache), engine.naive(prompt))
    engine.assert_length(cache, len(prompt))


def cached_decoding_is_naive_decoding(engine: Engine, data: st.DataObject) -> None:
    """Decoding token by token with the cache must give the same as computing the whole sequence each time."""
    prompt = data.draw(token_lists(engine.vocab_size, 12))
    continuation = data.draw(token_lists(engine.vocab_size, 8))
    cache = engine.new_cache(CAPACITY)
    engine.prefill(prompt, cache)
    for count, token in enumerate(continuation, start=1):
        engine.assert_same(engine.decode(token, cache), engine.naive(prompt + continuation[:count]))


def chunked_prefill_is_whole_prefill(engine: Engine, data: st.DataObject) -> None:
    """Prefill in several passes must give the same as in one pass."""
    prompt = data.draw(token_lists(engine.vocab_size, 24))
    cache = engine.new_cache(CAPACITY)
    engine.assert_same(engine.prefill(prompt, cache, chunk=data.draw(st.integers(1, 25))), engine.naive(prompt))
    engine.assert_length(cache, len(prompt))


def truncated_tokens_were_never_there(engine: Engine, data: st.DataObject) -> None:
    """After truncate, the cache must behave as if the dropped tokens had never been appended."""
    kept, dropped, later = (data.draw(token_lists(engine.vocab_size, 8)) for _ in range(3))
    cache = engine.new_cache(CAPACITY)
    engine.prefill(kept + dropped, cache)
    engine.truncate(cache, len(kept))
    engine.assert_same(engine.prefill(later, cache), engine.naive(kept + later))


def forks_are_independent(engine: Engine, data: st.DataObject) -> None:
    """Tokens that are appended to one fork must not change the other one."""
    shared, left, right = (data.draw(token_lists(engine.vocab_size, 8)) for _ in range(3))
    first = engine.new_cache(CAPACITY)
    engine.prefill(shared, first)
    second = engine.fork(first)
    engine.assert_same(engine.prefill(left, first), engine.naive(shared + left))
    engine.assert_same(engine.prefill(right, second), engine.naive(shared + right))
    engine.assert_same(engine.prefill([0], first), engine.naive([*shared, *left, 0]))


def a_batch_is_its_sequences_one_by_one(engine: Engine, data: st.DataObject) -> None:
    """A batch of sequences of different lengths must give the same as each sequence alone."""
    cached = data.draw(st.lists(token_lists(engine.vocab_size, 10, min_size=0), min_size=1, max_size=4))
    new = [data.draw(token_lists(engine.vocab_size, 6)) for _ in cached]
    caches = [engine.new_cache(CAPACITY) for _ in cached]
    for tokens, cache in zip(cached, caches, strict=True):
        if tokens:
            engine.prefill(tokens, cache)
    logits = engine.batch(list(zip(new, caches, strict=True)))
    assert len(logits) == len(cached)
    for row, before, tokens, cache in zip(logits, cached, new, caches, strict=True):
        engine.assert_same(row, engine.naive(before + tokens))
        engine.assert_length(cache, len(before) + len(tokens))


Property = Callable[[Engine, st.DataObject], None]
PROPERTIES: dict[Property, tuple[str, ...]] = {  # the functions that it needs besides new_cache and prefill
    prefill_is_naive: (),
    cached_decoding_is_naive_decoding: ("decode",),
    chunked_prefill_is_whole_prefill: (),
    truncated_tokens_were_never_there: ("truncate",),
    forks_are_independent: ("fork",),
    a_batch_is_its_sequences_one_by_one: ("batch",),
}


Rule = TypeVar("Rule", bound=Callable[..., Any])


def _can(name: str) -> Callable[[Rule], Rule]:
    return precondition(lambda machine: machine.engine.has(name))


class CacheSchedules(RuleBasedStateMachine):
    """Any sequence of prefill, decode, truncate, fork and batch must leave the expected tokens in each cache.

    The model of a cache is the list of its tokens. Subclasses set `engines`.
    """

    engines: ClassVar[st.SearchStrategy[Engine]]

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Begin with one empty cache."""
        self.engine = data.draw(self.engines)
        self.caches = [self.engine.new_cache(SCHEDULE_TOKENS)]
        self.tokens: list[list[int]] = [[]]

    def draw_cache(self, data: st.DataObject) -> int:
        """Return the index of one of the caches."""
        return data.draw(st.integers(0, len(self.caches) - 1))

    def draw_tokens(self, data: st.DataObject, number: int) -> list[int]:
        """Return new tokens for a cache, or an empty list if it is full."""
        room = min(8, SCHEDULE_TOKENS - len(self.tokens[number]))
        return data.draw(token_lists(self.engine.vocab_size, room, min_size=min(1, room)))

    def check(self, number: int, logits: Array) -> None:
        """Compare the logits with the naive path."""
        self.engine.assert_same(logits, self.engine.naive(self.tokens[number]))
        self.engine.assert_length(self.caches[number], len(self.tokens[number]))

    @rule(data=st.data(), chunk=st.none() | st.integers(1, 9))
    def prefill(self, data: st.DataObject, chunk: int | None) -> None:
        """Append several tokens."""
        number = self.draw_cache(data)
        if new := self.draw_tokens(data, number):
            self.tokens[number] += new
            self.check(number, self.engine.prefill(new, self.caches[number], chunk))

    @_can("decode")
    @rule(data=st.data())
    def decode(self, data: st.DataObject) -> None:
        """Append one token."""
        number = self.draw_cache(data)
        if new := self.draw_tokens(data, number)[:1]:
            self.tokens[number] += new
            self.check(number, self.engine.decode(new[0], self.caches[number]))

    @_can("batch")
    @rule(data=st.data())
    def batch(self, data: st.DataObject) -> None:
        """Append tokens to all caches at once."""
        drawn = {number: self.draw_tokens(data, number) for number in range(len(self.caches))}
        new = {number: tokens for number, tokens in drawn.items() if tokens}
        if new:
            for number, tokens in new.items():
                self.tokens[number] += tokens
            logits = self.engine.batch([(tokens, self.caches[number]) for number, tokens in new.items()])
            for number, row in zip(new, logits, strict=True):
                self.check(number, row)

    @_can("truncate")
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        """Drop some of the last tokens."""
        number = self.draw_cache(data)
        length = data.draw(st.integers(0, len(self.tokens[number])))
        self.engine.truncate(self.caches[number], length)
        del self.tokens[number][length:]

    @_can("fork")
    @precondition(lambda machine: len(machine.caches) < MOST_CACHES)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        """Add a fork of a cache."""
        number = self.draw_cache(data)
        self.caches.append(self.engine.fork(self.caches[number]))
        self.tokens.append(list(self.tokens[number]))


def run_property(holds: Property, engines: st.SearchStrategy[Engine], examples: int = 60) -> None:
    """Search for a counterexample, and raise the AssertionError of the smallest one. The search is deterministic."""

    def look(data: st.DataObject) -> None:
        holds(data.draw(engines), data)

    _settings(examples)(given(data=st.data())(look))()


def run_schedules(drawn: st.SearchStrategy[Engine], examples: int = 30) -> None:
    """Search for a counterexample among all sequences of calls."""

    class Schedules(CacheSchedules):
        engines = drawn

    run_state_machine_as_test(Schedules, settings=_settings(examples, stateful_step_count=12))


def _settings(examples: int, **more: Any) -> Any:  # beartype cannot name `settings`
    return settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, print_blob=False,
        report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink), **more,
    )  # fmt: skip
