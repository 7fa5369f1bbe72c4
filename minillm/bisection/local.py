"""Runs of schedules on minillm's own engine: observed operation by operation, and as they are with no observer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minillm.arrays import Array, Float
from minillm.bisection.observed import AFTER_LAYERS, AS_RUN, Observed, Wanted
from minillm.bisection.observer import Observer, observed_model
from minillm.bisection.replay import Part, replay
from minillm.bisection.schedule import Schedule
from minillm.decode import decode_step
from minillm.kv_cache.contiguous import KVCache
from minillm.kv_cache.paged import BlockPool, PagedKVCache
from minillm.model import Model
from minillm.prefill import prefill
from minillm.sampling import greedy
from minillm.transformer import forward_batch


class OurMachine:
    """Our own engine, as schedules use it (`replay.Machine`), with an observer that hears of each pass."""

    def __init__(self, model: Model, observer: Observer) -> None:
        self.model, self.observer = model, observer
        self.vocab_size = model.config.vocab_size
        self._schedule, self._longest = Schedule(), 0
        self._pool: BlockPool | None = None

    def prepare(self, schedule: Schedule, longest: int, caches: int) -> None:
        """Reserve the blocks, if the caches are paged."""
        if schedule.block_size is None and "swap" in {operation.name for operation in schedule.operations}:
            raise ValueError(f"{schedule}: swap moves blocks; add block 4, for example")
        self._schedule, self._longest = schedule, longest
        if size := schedule.block_size:
            self._pool = BlockPool(self.model, caches * -(-longest // size), size, schedule.cache_dtype)

    def new_cache(self) -> Any:
        """Return a cache of the kind that the schedule says."""
        if self._pool is not None:
            return PagedKVCache(self._pool)
        return KVCache(self.model, self._longest, self._schedule.cache_dtype)

    def run(self, parts: Sequence[Part]) -> Float[Array, "parts vocab"]:
        """Run one pass."""
        self.observer.begin_pass(parts)
        return self.model.ops.to_host(forward_batch(self.model, [(part.tokens, part.cache) for part in parts]))

    def truncate(self, cache: Any, length: int) -> None:
        """Drop tokens."""
        cache.truncate(length)

    def fork(self, cache: Any) -> Any:
        """Copy a cache, or share its blocks."""
        return cache.fork()

    def copy_prefix(self, cache: Any, length: int) -> Any:
        """Copy a cache, and cut the copy."""
        copy = cache.fork()
        copy.truncate(length)
        return copy

    def free(self, cache: Any) -> None:
        """Give the blocks back."""
        cache.truncate(0)

    def swap(self, cache: Any) -> Any:
        """Copy the tokens out and back in."""
        cache.swap_in(cache.swap_out())
        return cache


class Unobserved(OurMachine):
    """The same engine, of which only the logits of each pass are seen."""

    def run(self, parts: Sequence[Part]) -> Float[Array, "parts vocab"]:
        """Run one pass, and record its logits."""
        logits = super().run(parts)
        self.observer.enter(AFTER_LAYERS)
        self.observer.record([AS_RUN], logits)
        return logits


def observe(model: Model, schedule: Schedule, tokens: list[int], prompt_tokens: int, wanted: Wanted) -> Observed:
    """Run a schedule twice: observed, and without observer, for its logits as they are in an ordinary run.

    Args:
        model: the model.
        schedule: the schedule.
        tokens: the prompt, and the tokens after it.
        prompt_tokens: the number of tokens in the prompt.
        wanted: what else than digests is kept.

    Raises:
        ValueError: the schedule does not fit the tokens, or there is not enough memory.
    """
    observer, of_logits = Observer(model, wanted), Observer(model, wanted)
    replay(schedule, tokens, prompt_tokens, OurMachine(observed_model(model, observer), observer))
    replay(schedule, tokens, prompt_tokens, Unobserved(model, of_logits))
    observer.observed.merge(of_logits.observed)
    return observer.observed


def greedy_tokens(model: Model, prompt: list[int], new_tokens: int) -> list[int]:
    """Return the prompt and the tokens that are chosen greedily after it. The last one is left out: it never runs."""
    tokens, cache = list(prompt), KVCache(model, len(prompt) + new_tokens)
    logits = prefill(model, prompt, cache) if new_tokens > 1 else None
    while logits is not None and len(tokens) < len(prompt) + new_tokens - 1:
        tokens.append(greedy(model.ops.to_host(logits)))
        if len(tokens) < len(prompt) + new_tokens - 1:
            logits = decode_step(model, tokens[-1], cache)
    return tokens


@dataclass(frozen=True)
class LocalRunner:
    """A schedule on a model of this process: what the search calls a run."""

    model: Model
    schedule: Schedule

    @property
    def vocab_size(self) -> int:
        """The number of tokens that exist."""
        return self.model.config.vocab_size

    def greedy(self, prompt: list[int], new_tokens: int) -> list[int]:
        """Return the prompt and the tokens after it."""
        return greedy_tokens(self.model, prompt, new_tokens)

    def observe(self, tokens: list[int], prompt_tokens: int, wanted: Wanted) -> Observed:
        """Run the schedule."""
        return observe(self.model, self.schedule, tokens, prompt_tokens, wanted)
