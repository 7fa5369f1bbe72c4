"""What batching gains and costs: the engine against a plain loop, paged against contiguous caches, and whole loads.

Ways that are compared take turns at every step, so that other load on the machine affects all of them alike.
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
STATIC_BATCH = 8  # sequences, in the mixed load
MIXED_REQUESTS, QUEUED_REQUESTS = 64, 1000
LONG_ANSWER, SHORT_ANSWER = 160, 16  # tokens, in the mixed load
GREEDY = Sampling(ignore_eos=True)


def decode_steps(model: Model, prompts: Sequence[list[int]], steps: int) -> dict[str, float]:
    """Return the median seconds of a decode step of all sequences, run in four ways that take turns.

    Args:
        model: the model.
        prompts: one for each sequence; all different, or the engine would share their blocks.
        steps: number of steps.

    Returns:
        `plain`: only the forward pass over contiguous caches and the greedy choice; `paged`: the same over neighbouring
        blocks; `fragmented`: the same over blocks of which no two are neighbours; `engine`: a step of the engine.
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
    """A plain batched decode loop after its prefill: one forward pass over all sequences, then the greedy choices.

    Attributes:
        tokens: the newest token of each sequence.
    """

    def __init__(self, model: Model, caches: Sequence[Cache], prompts: Sequence[list[int]]) -> None:
        self.model, self.caches = model, caches
        pairs = zip(prompts, caches, strict=True)
        self.tokens = [_greedy(model, prefill(model, prompt, cache)) for prompt, cache in pairs]

    def step(self) -> None:
        """Append one token to each sequence."""
        batch = [([token], cache) for token, cache in zip(self.tokens, self.caches, strict=True)]
        self.tokens = [_greedy(self.model, row) for row in forward_batch(self.model, batch)]


def _greedy(model: Model, logits: Array) -> int:
    return int(model.ops.to_host(logits).argmax())


def _paged(model: Model, blocks: int, sequences: int, fragmented: bool) -> list[PagedKVCache]:
    """Return caches that hold all their blocks already: neighbours, or in an order where no two are neighbours."""
    pool = BlockPool(model, blocks * sequences, BLOCK_SIZE)
    caches = [PagedKVCache(pool) for _ in range(sequences)]
    taken = pool.allocate(blocks * sequences)
    for number, cache in enumerate(caches):
        cache.table = taken[number::sequences][::-1] if fragmented else taken[number * blocks :][:blocks]
    return caches


def _engine_in_decode(model: Model, prompts: Sequence[list[int]], new_tokens: int, blocks: int) -> Engine:
    """Return an engine in which each request has its first token, with as many blocks as they need."""
    engine = Engine(model, BLOCK_SIZE, num_blocks=blocks, max_batch_tokens=sum(map(len, prompts)))
    for prompt in prompts:
        engine.submit(prompt, new_tokens, GREEDY)
    engine.step()
    return engine


def mixed_load(model: Model) -> dict[str, float]:
    """Run 64 requests, of which every eighth needs ten times as many tokens, by static and continuous batching.

    Both have the memory of 8 sequences of the longest kind. Static batching runs 8 requests in it; continuous
    batching runs as many as it has blocks for. The gain depends on how much the answers' lengths differ.

    Returns:
        seconds and steps of each.
    """
    rng, context = np.random.default_rng(0), model.config.max_position_embeddings
    prompts = rng.exponential(24, MIXED_REQUESTS).clip(1, min(128, context // 2)).astype(int).tolist()
    outputs = [LONG_ANSWER if number % 8 == 7 else SHORT_ANSWER for number in range(MIXED_REQUESTS)]
    pairs = zip(prompts, outputs, strict=True)
    jobs = [Job(_ids(rng, model, prompt), min(output, context // 2), GREEDY) for prompt, output in pairs]
    longest = max(len(job.prompt) + job.max_new_tokens for job in jobs)
    static = run_static(model, jobs, STATIC_BATCH)
    continuous = run_continuous(model, jobs, num_blocks=-(-STATIC_BATCH * longest // BLOCK_SIZE))
    return {
        "static_s": static.seconds,
        "continuous_s": continuous.seconds,
        "static_steps": float(static.steps),
        "continuous_steps": float(continuous.steps),
    }


def queued_requests(model: Model) -> dict[str, float]:
    """Run 1,000 short requests that arrive at once; return seconds in all, and seconds outside the forward pass."""
    rng = np.random.default_rng(0)
    engine, started = TimedEngine(model), perf_counter()
    for prompt, output in zip(rng.integers(4, 13, QUEUED_REQUESTS), rng.integers(1, 8, QUEUED_REQUESTS), strict=True):
        engine.submit(_ids(rng, model, int(prompt)), int(output), GREEDY)
    engine.run()
    total = perf_counter() - started
    return {"total_s": total, "outside_forward_s": total - engine.forward_s}


class TimedEngine(Engine):
    """An engine that adds up the seconds of its forward passes."""

    forward_s = 0.0

    def _forward(self, plan: Plan) -> Array:
        started = perf_counter()
        logits = super()._forward(plan)
        self.forward_s += perf_counter() - started
        return logits


def _ids(rng: np.random.Generator, model: Model, count: int) -> list[int]:
    return [int(token) for token in rng.integers(0, model.config.vocab_size, count)]
