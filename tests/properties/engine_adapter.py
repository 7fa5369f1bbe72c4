"""Our own engine as the properties of every engine want it (minillm/verification/engine_protocol.py)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from random_models import CONTEXT, EVERY_BACKEND, cache_dtypes, models

import minillm
from minillm.sampling import sample
from minillm.verification.comparison import relative_difference

OPTIONS = {
    "page": [16, 1, 3],
    "budget": [None, 1, 3, 7],
    "scarce": [False, True],  # a pool for one request: the others are preempted, or wait
    "preemption": ["recompute", "swap"],
    "n": [1, 2, 3],
    "eos": [None, 0],
}


class EngineAdapter:
    """An engine under test. A cache is whatever the engine calls one; logits are NumPy arrays."""

    options = OPTIONS

    def __init__(self, model: minillm.Model, cache_dtype: str | None) -> None:
        self.model, self.config = model, model.config
        self.cache_dtype = cache_dtype
        self.vocab_size = model.config.vocab_size
        self.sizes = sorted({window for window in model.config.sliding_windows if window})
        self.tolerance = 0.0 if model.ops.name == "exact" else 1e-9
        self.engines: dict[tuple[Any, ...], minillm.Engine] = {}

    def has(self, name: str) -> bool:
        return callable(getattr(self, name, None))

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

    def copy_prefix(self, cache: minillm.KVCache, length: int) -> minillm.KVCache:
        copy = cache.fork()
        copy.truncate(length)
        return copy

    def reorder(self, caches: Sequence[minillm.KVCache], order: Sequence[int]) -> list[minillm.KVCache]:
        return [caches[number].fork() for number in order]

    def generate(self, prompts: Sequence[Sequence[int]], options: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run all requests in one engine, which is used again with the same options."""
        longest = max(map(len, prompts)) + options["max_new_tokens"]
        blocks = -(-longest // options["page"]) if options["scarce"] else None
        key = (options["page"], options["budget"], options["preemption"], blocks)
        if key not in self.engines:
            page, budget, preemption, _ = key
            self.engines[key] = minillm.Engine(
                self.model, page, blocks, budget, preemption, cache_dtype=self.cache_dtype
            )
        engine, sampling = self.engines[key], sampling_of(options)
        requests = [
            request
            for prompt in prompts
            for request in engine.submit_samples(prompt, options["n"], options["max_new_tokens"], sampling)
        ]
        engine.run()
        return [
            (request.tokens, [one.logprob for one in request.logprobs], request.finish_reason) for request in requests
        ]

    def stream(self, prompt: Sequence[int], options: Mapping[str, Any]) -> Iterator[int]:
        generation = minillm.generation.Generation(
            self.model, prompt, options["max_new_tokens"], sampling_of(options), cache_dtype=self.cache_dtype
        )
        return (step.token for step in generation)

    def sample(self, logits: Sequence[float], options: Mapping[str, Any], draw: Any) -> int:
        return sample(np.array(logits), minillm.Sampling(**{"temperature": 1.0, **options}), [], DrawnNumbers(draw))

    def assert_same(self, found: np.ndarray, expected: np.ndarray) -> None:
        """Equal to the bit on the exact backend; elsewhere up to the rounding of float64 sums in another order."""
        if self.model.ops.name == "exact":
            assert np.array_equal(found, expected)
        else:
            assert relative_difference(found, expected).max() <= self.tolerance

    def edited(self, cached: Sequence[Any]) -> None:
        """Nothing is known, and nothing asked: no cache can be edited."""

    def fail(self, message: str) -> None:
        raise AssertionError(message)

    def add_difference(self, relative: float) -> None:
        """Nobody reads it."""

    def add_end(self, ended: bool) -> None:
        """Do nothing: the tests of generation choose their end tokens."""

    def add_tie(self, message: str) -> None:
        """On the exact backend, nothing rounds, and nothing is tied."""
        assert self.model.ops.name != "exact", message


def sampling_of(options: Mapping[str, Any]) -> minillm.Sampling:
    """Greedy, with log-probabilities; 0 is the end token of random models."""
    return minillm.Sampling(logprobs=0, ignore_eos=options["eos"] is None)


class DrawnNumbers(np.random.Generator):
    """A generator whose random number is looked up among cumulated probabilities, by `draw`."""

    def __init__(self, draw: Any) -> None:
        super().__init__(np.random.PCG64(0))
        self.draw = draw

    def random(self) -> Any:
        return self

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        assert function is np.searchsorted and args[1] is self
        return self.draw(np.diff(args[0], prepend=0.0))


class PagedAdapter(EngineAdapter):
    """The same engine on paged caches, which share one pool in which many blocks belong to others."""

    def __init__(self, model: minillm.Model, cache_dtype: str | None, block_size: int, others: Sequence[bool]) -> None:
        super().__init__(model, cache_dtype)
        self.pool = minillm.BlockPool(model, 8 * CONTEXT // block_size, block_size, cache_dtype)
        taken = self.pool.allocate(self.pool.num_blocks // 2)
        self.pool.free([block for block, other in zip(taken, others, strict=False) if not other])
        self.before = self.pool.used
        self.sizes = sorted({*self.sizes, block_size})

    def new_cache(self, capacity: int) -> minillm.PagedKVCache:
        return minillm.PagedKVCache(self.pool)

    def reorder(self, caches: Sequence[Any], order: Sequence[int]) -> list[Any]:
        """Give the blocks of the old caches back: they are not used again."""
        chosen = super().reorder(caches, order)
        for cache in caches:
            cache.free()
        return chosen

    def save(self, cache: minillm.PagedKVCache) -> Any:
        return cache.fork().swap_out() if cache.length else None

    def restore(self, state: Any) -> minillm.PagedKVCache:
        cache = minillm.PagedKVCache(self.pool)
        if state is not None:
            cache.swap_in(state)
        return cache

    def release(self, cache: minillm.PagedKVCache) -> None:
        cache.free()


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
