"""What batching brings and what it costs: the engine beside a plain loop, pages beside one piece, whole loads.

Things that are compared take turns at every step, so that what the machine does to one it does to the other.
"""

import statistics
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.batching import Engine
from minillm.batching.scheduler import Plan
from minillm.benchmark.schedules import Job, run_continuous, run_static
from minillm.benchmark.timing import seconds
from minillm.kv_cache.cache import Cache
from minillm.kv_cache.contiguous import KVCache
from minillm.kv_cache.paged import BlockPool, PagedKVCache
from minillm.model import Model
from minillm.prefill import prefill
from minillm.sampling import Sampling
from minillm.transformer import forward_batch

BLOCK_SIZE = 16
PLACES = 8  # of the static batch in the mixed load
MIXED_REQUESTS, QUEUED_REQUESTS = 64, 1000
LONG_ANSWER, SHORT_ANSWER = 160, 16  # tokens, in the mixed load
GREEDY = Sampling(ignore_eos=True)


def decode_steps(model: Model, prompts: Sequence[list[int]], steps: int) -> dict[str, float]:
    """Median seconds of a decode step of all sequences, made in four ways in turn.

    Args:
        model: the model.
        prompts: one for each sequence; different ones, or the engine would share their blocks.
        steps: how many are made.

    Returns:
        `plain`: the forward pass over contiguous caches and the greedy choice, no more; `paged`: the same over blocks
        that are neighbours; `fragmented`: over blocks none of which is; `engine`: a step of the engine.
    """
    room = len(prompts[0]) + steps + 1
    blocks = -(-room // BLOCK_SIZE)
    ways: dict[str, Callable[[], Any]] = {
        "plain": PlainLoop(model, [KVCache(model, room) for _ in prompts], prompts).step,
        "paged": PlainLoop(model, _paged(model, blocks, len(prompts), fragmented=False), prompts).step,
        "fragmented": PlainLoop(model, _paged(model, blocks, len(prompts), fragmented=True), prompts).step,
        "engine": _engine_in_decode(model, prompts, steps + 1, blocks * len(prompts)).step,
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(steps):
        for name, step in ways.items():
            taken[name].append(seconds(step))
    return {name: statistics.median(times) for name, times in taken.items()}


class PlainLoop:
    """The plain batched decode loop, behind its prefill: one forward pass of all sequences, then the greedy choices.

    Attributes:
        tokens: the newest of each sequence.
    """

    def __init__(self, model: Model, caches: Sequence[Cache], prompts: Sequence[list[int]]) -> None:
        """Run the prompts."""
        self.model, self.caches = model, caches
        pairs = zip(prompts, caches, strict=True)
        self.tokens = [_greedy(model, prefill(model, prompt, cache)) for prompt, cache in pairs]

    def step(self) -> None:
        """One token more for each."""
        batch = [([token], cache) for token, cache in zip(self.tokens, self.caches, strict=True)]
        self.tokens = [_greedy(self.model, row) for row in forward_batch(self.model, batch)]


def _greedy(model: Model, logits: Array) -> int:
    return int(model.ops.to_host(logits).argmax())


def _paged(model: Model, blocks: int, sequences: int, fragmented: bool) -> list[PagedKVCache]:
    """Caches that hold all their blocks already: neighbours, or in such an order that no two are."""
    pool = BlockPool(model, blocks * sequences, BLOCK_SIZE)
    caches = [PagedKVCache(pool) for _ in range(sequences)]
    taken = pool.allocate(blocks * sequences)
    for number, cache in enumerate(caches):
        cache.table = taken[number::sequences][::-1] if fragmented else taken[number * blocks :][:blocks]
    return caches


def _engine_in_decode(model: Model, prompts: Sequence[list[int]], new_tokens: int, blocks: int) -> Engine:
    """An engine in which all of these requests have their first token, and that has as much room as they need."""
    engine = Engine(model, BLOCK_SIZE, num_blocks=blocks, max_batch_tokens=sum(map(len, prompts)))
    for prompt in prompts:
        engine.submit(prompt, new_tokens, GREEDY)
    engine.step()
    return engine


def mixed_load(model: Model) -> dict[str, float]:
    """64 requests, of which every eighth wants ten times as many tokens as the others: static and continuous batching.

    Both have the memory of 8 sequences of the longest kind. Static batching holds 8 requests in it; continuous
    batching as many as it has blocks for. What it gains depends on how different the answers are.

    Returns:
        seconds and steps of each.
    """
    rng, context = np.random.default_rng(0), model.config.max_position_embeddings
    prompts = rng.exponential(24, MIXED_REQUESTS).clip(1, min(128, context // 2)).astype(int).tolist()
    outputs = [LONG_ANSWER if number % 8 == 7 else SHORT_ANSWER for number in range(MIXED_REQUESTS)]
    pairs = zip(prompts, outputs, strict=True)
    jobs = [Job(_ids(rng, model, prompt), min(output, context // 2), GREEDY) for prompt, output in pairs]
    longest = max(len(job.prompt) + job.max_new_tokens for job in jobs)
    static = run_static(model, jobs, PLACES)
    continuous = run_continuous(model, jobs, num_blocks=-(-PLACES * longest // BLOCK_SIZE))
    return {
        "static_s": static.seconds,
        "continuous_s": continuous.seconds,
        "static_steps": float(static.steps),
        "continuous_steps": float(continuous.steps),
    }


def queued_requests(model: Model) -> dict[str, float]:
    """1,000 short requests that are all there at once: seconds in all, and of them outside the forward pass."""
    rng = np.random.default_rng(0)
    engine, started = TimedEngine(model), perf_counter()
    for prompt, output in zip(rng.integers(4, 13, QUEUED_REQUESTS), rng.integers(1, 8, QUEUED_REQUESTS), strict=True):
        engine.submit(_ids(rng, model, int(prompt)), int(output), GREEDY)
    engine.run()
    total = perf_counter() - started
    return {"total_s": total, "outside_forward_s": total - engine.forward_s}


class TimedEngine(Engine):
    """An engine that knows how long its forward passes took."""

    forward_s = 0.0

    def _forward(self, plan: Plan) -> Array:
        started = perf_counter()
        logits = super()._forward(plan)
        self.forward_s += perf_counter() - started
        return logits


def _ids(rng: np.random.Generator, model: Model, count: int) -> list[int]:
    return [int(token) for token in rng.integers(0, model.config.vocab_size, count)]
