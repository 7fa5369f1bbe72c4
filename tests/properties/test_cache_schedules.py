"""Any sequence of prefill, decode, truncate, fork and batch leaves each cache holding just the tokens it should."""

from collections import Counter

from engine_adapter import PagedAdapter, engines
from hypothesis import settings
from hypothesis.stateful import invariant

from minillm.verification.cache_schedules import CacheSchedules
from minillm.verification.refusals import Patience


class OurSchedules(CacheSchedules):
    """Of our own engine the blocks can be counted too."""

    engines, patience = engines(), Patience()

    @invariant()
    def every_block_is_in_the_tables_that_hold_it(self):
        """Copies and shared blocks come out even, and truncated blocks are given back."""
        if isinstance(self.engine, PagedAdapter):
            pool = self.engine.pool
            for cache in self.caches:
                assert len(cache.table) == pool.blocks_for(cache.length)
            tables = Counter(block for cache in self.caches for block in cache.table)
            assert pool.used == len(tables) + self.engine.before
            assert all(pool.reference_counts[block] == count for block, count in tables.items())


TestCacheSchedules = OurSchedules.TestCase
TestCacheSchedules.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
