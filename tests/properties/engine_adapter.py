"""Our own engine as the equivalence properties want it (minillm/verification/cache_properties.py)."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from random_models import CONTEXT, EVERY_BACKEND, cache_dtypes, models

import minillm


class EngineAdapter:
    """An engine under test. A cache is whatever the engine calls one; logits are NumPy arrays."""

    def __init__(self, model: minillm.Model, cache_dtype: str | None) -> None:
        self.model = model
        self.cache_dtype = cache_dtype
        self.vocab_size = model.config.vocab_size

    def has(self, name: str) -> bool:
        return True

    def naive(self, tokens: Sequence[int]) -> np.ndarray:
        """Logits after the last token, from nothing: what everything else is equal to."""
        return self.model.ops.to_host(minillm.forward(self.model, tokens, self.cache_dtype)[-1])  # [vocab]

    def new_cache(self, capacity: int) -> minillm.KVCache:
        return minillm.KVCache(self.model, capacity=capacity, dtype=self.cache_dtype)

    def assert_length(self, cache: minillm.KVCache, length: int) -> None:
        assert cache.length == length

    def prefill(self, tokens: Sequence[int], cache: minillm.KVCache, chunk: int | None = None) -> np.ndarray:
        return self.model.ops.to_host(minillm.prefill(self.model, tokens, cache, chunk))  # [vocab]

    def decode(self, token: int, cache: minillm.KVCache) -> np.ndarray:
        return self.model.ops.to_host(minillm.decode_step(self.model, token, cache))  # [vocab]

    def batch(self, batch: Sequence[tuple[Sequence[int], minillm.KVCache]]) -> np.ndarray:
        return self.model.ops.to_host(minillm.forward_batch(self.model, batch))  # [sequences, vocab]

    def truncate(self, cache: minillm.KVCache, length: int) -> None:
        cache.truncate(length)

    def fork(self, cache: minillm.KVCache) -> minillm.KVCache:
        return cache.fork()

    def assert_same(self, found: np.ndarray, expected: np.ndarray) -> None:
        """Equal to the bit on the exact backend; elsewhere up to the rounding of float64 sums in another order."""
        if self.model.ops.name == "exact":
            assert np.array_equal(found, expected)
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


class PagedAdapter(EngineAdapter):
    """The same engine on paged caches, which share one pool in which many blocks belong to others."""

    def __init__(self, model: minillm.Model, cache_dtype: str | None, block_size: int, others: Sequence[bool]) -> None:
        super().__init__(model, cache_dtype)
        self.pool = minillm.BlockPool(model, 8 * CONTEXT // block_size, block_size, cache_dtype)
        taken = self.pool.allocate(self.pool.num_blocks // 2)
        self.pool.free([block for block, other in zip(taken, others, strict=False) if not other])
        self.before = self.pool.used

    def new_cache(self, capacity: int) -> minillm.PagedKVCache:
        return minillm.PagedKVCache(self.pool)


@st.composite
def engines(draw) -> EngineAdapter:
    """A random model with contiguous or paged caches, in floats or int8; of the paged ones, some fragmented."""
    model = draw(models(EVERY_BACKEND))
    cache_dtype = draw(cache_dtypes(model))
    if draw(st.booleans()):
        return EngineAdapter(model, cache_dtype)
    return PagedAdapter(
        model, cache_dtype, draw(st.integers(1, 9)), draw(st.lists(st.booleans(), min_size=40, max_size=40))
    )
