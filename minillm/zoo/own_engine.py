"""minillm's engine as the cache properties want it: compared with the reference, and with a record of its calls."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
from hypothesis import strategies as st

import minillm
from minillm import reference
from minillm.arrays import Array
from minillm.support.wording import counted
from minillm.zoo.tiny_models import CONFIGS, tiny_model, tiny_weights

FUNCTIONS = ("new_cache", "prefill", "decode", "batch", "truncate", "fork")
TOLERANCE = 1e-9  # relative to the largest logit: the rounding of float64 sums in another order
BLOCK_SIZE, BLOCKS = 2, 400


class OwnEngine:
    """An engine under test. A counterexample is the list of its calls, and what is wrong after the last one."""

    def __init__(self, name: str, paged: bool) -> None:
        """Begin with an empty record.

        Args:
            name: of a config of `CONFIGS`.
            paged: whether caches are in blocks of 2 tokens, in one pool, or contiguous.
        """
        self.config = CONFIGS[name]
        self.model, self.weights = tiny_model(self.config), tiny_weights(self.config)
        self.vocab_size, self.sizes = self.config.vocab_size, ()
        self.pool = minillm.BlockPool(self.model, BLOCKS, BLOCK_SIZE) if paged else None
        self.calls = [f"{name}, caches {'in blocks of 2 tokens' if paged else 'in one piece'}:"]
        self.caches: list[Any] = []

    def has(self, name: str) -> bool:
        """Return whether the engine has the function."""
        return name in FUNCTIONS

    def naive(self, tokens: Sequence[int]) -> Array:
        """Return the logits of the reference, which shares no code with the engine."""
        return reference.forward(self.config, self.weights, tokens)[-1]

    def new_cache(self, capacity: int) -> Any:
        """Return an empty cache."""
        cache = minillm.PagedKVCache(self.pool) if self.pool else minillm.KVCache(self.model, capacity)
        return self._named(cache, "new_cache()")

    def prefill(self, tokens: Sequence[int], cache: Any, chunk: int | None = None) -> Array:
        """Append tokens, at most `chunk` per pass."""
        shown = f"prefill({tokens}, {self._name(cache)}{f', chunk={chunk}' if chunk else ''})"
        return self._call(shown, lambda: minillm.prefill(self.model, tokens, cache, chunk))

    def decode(self, token: int, cache: Any) -> Array:
        """Append one token."""
        shown = f"decode({token}, {self._name(cache)})"
        return self._call(shown, lambda: minillm.decode_step(self.model, token, cache))

    def batch(self, batch: Sequence[tuple[Sequence[int], Any]]) -> Array:
        """Append new tokens to several caches."""
        shown = ", ".join(f"({tokens}, {self._name(cache)})" for tokens, cache in batch)
        return self._call(f"batch([{shown}])", lambda: minillm.forward_batch(self.model, batch))

    def truncate(self, cache: Any, length: int) -> None:
        """Drop all tokens from index `length` on."""
        self._call(f"truncate({self._name(cache)}, {length})", lambda: cache.truncate(length))

    def fork(self, cache: Any) -> Any:
        """Return an independent cache with the same tokens."""
        return self._named(cache.fork(), f"fork({self._name(cache)})")

    def assert_same(self, found: Array, expected: Array) -> None:
        """Raise AssertionError if the logits differ from those of the reference."""
        difference = np.abs(found - expected) / np.abs(expected).max()  # [vocab]
        if not (difference <= TOLERANCE).all():  # NaN is not, either
            token = int(np.nan_to_num(difference, nan=np.inf).argmax())
            self._fail(f"logit {token} is {found[token]:.4f}; the reference says {expected[token]:.4f}")

    def assert_length(self, cache: Any, length: int) -> None:
        """Raise AssertionError if the cache has another number of tokens."""
        if cache.length != length:
            self._fail(f"{self._name(cache)} has {counted(cache.length, 'token')}; expected {length}")

    def _call(self, shown: str, function: Callable[[], Any]) -> Any:
        self.calls.append(f"    {shown}")
        try:
            return function()
        except Exception as problem:
            self._fail(f"{type(problem).__name__}: {problem}")

    def _named(self, cache: Any, how: str) -> Any:
        self.caches.append(cache)
        self.calls.append(f"    {self._name(cache)} = {how}")
        return cache

    def _name(self, cache: Any) -> str:
        return next(chr(ord("a") + number) for number, known in enumerate(self.caches) if known is cache)

    def _fail(self, what: str) -> NoReturn:
        raise AssertionError("\n".join([*self.calls, what])) from None


def own_engines() -> st.SearchStrategy[Any]:
    """Return a strategy for new engines: every config, with contiguous and with paged caches.

    They have the operations of FUNCTIONS, which are enough for the properties that are asked of them.
    """
    return st.builds(OwnEngine, st.sampled_from(list(CONFIGS)), st.booleans())
