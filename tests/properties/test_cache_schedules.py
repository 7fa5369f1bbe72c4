"""Any sequence of prefill, decode, truncate, fork and batch leaves each cache holding just the tokens it should."""

from collections import Counter

from engine_adapter import PagedAdapter, engines
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

CAPACITY = 40
MOST_CACHES = 4


class CacheSchedules(RuleBasedStateMachine):
    """The plain model of a cache is the list of its tokens. Every logit is compared with the naive path's."""

    @initialize(engine=engines())
    def begin(self, engine):
        self.engine = engine
        self.caches = [self.engine.new_cache(CAPACITY)]
        self.tokens = [[]]

    def draw_tokens(self, data, number):
        room = min(8, CAPACITY - len(self.tokens[number]))
        token = st.integers(0, self.engine.vocab_size - 1)
        return data.draw(st.lists(token, min_size=min(1, room), max_size=room))

    def draw_cache(self, data):
        return data.draw(st.integers(0, len(self.caches) - 1))

    def check(self, number, logits):
        self.engine.assert_same(logits, self.engine.naive(self.tokens[number]))
        assert self.engine.length(self.caches[number]) == len(self.tokens[number])

    @rule(data=st.data(), chunk=st.none() | st.integers(1, 9))
    def prefill(self, data, chunk):
        number = self.draw_cache(data)
        if new := self.draw_tokens(data, number):
            self.tokens[number] += new
            self.check(number, self.engine.prefill(new, self.caches[number], chunk))

    @rule(data=st.data())
    def decode(self, data):
        number = self.draw_cache(data)
        if new := self.draw_tokens(data, number)[:1]:
            self.tokens[number] += new
            self.check(number, self.engine.decode(new[0], self.caches[number]))

    @rule(data=st.data())
    def batch(self, data):
        new = {number: self.draw_tokens(data, number) for number in range(len(self.caches))}
        new = {number: tokens for number, tokens in new.items() if tokens}
        if new:
            for number, tokens in new.items():
                self.tokens[number] += tokens
            logits = self.engine.batch([(tokens, self.caches[number]) for number, tokens in new.items()])
            for number, row in zip(new, logits, strict=True):
                self.check(number, row)

    @rule(data=st.data())
    def truncate(self, data):
        number = self.draw_cache(data)
        length = data.draw(st.integers(0, len(self.tokens[number])))
        self.engine.truncate(self.caches[number], length)
        del self.tokens[number][length:]

    @precondition(lambda self: len(self.caches) < MOST_CACHES)
    @rule(data=st.data())
    def fork(self, data):
        number = self.draw_cache(data)
        self.caches.append(self.engine.fork(self.caches[number]))
        self.tokens.append(list(self.tokens[number]))

    @invariant()
    def every_block_is_in_the_tables_that_hold_it(self):
        """Copies and shared blocks come out even, and truncated blocks are given back."""
        if isinstance(getattr(self, "engine", None), PagedAdapter):
            pool = self.engine.pool
            for cache in self.caches:
                assert len(cache.table) == pool.blocks_for(cache.length)
            tables = Counter(block for cache in self.caches for block in cache.table)
            assert pool.held == len(tables) + self.engine.before
            assert all(pool.reference_counts[block] == count for block, count in tables.items())


TestCacheSchedules = CacheSchedules.TestCase
TestCacheSchedules.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
