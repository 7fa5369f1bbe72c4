"""The same requests under three schedules: naive, static and continuous batching, counted and timed.

All requests arrive at the beginning. *Naive* answers one after another and keeps no cache, so it computes every
sequence again for every token. *Static* batching keeps a cache for each sequence of the batch, as long as its request
may become. *Continuous* batching takes blocks as they are needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from minillm.batching.engine import Engine
from minillm.batching.static_batching import StaticBatching
from minillm.generation import Generation
from minillm.model import Model
from minillm.sampling import Sampling


@dataclass(frozen=True)
class Job:
    """One request: the prompt's ids, the most new tokens, how tokens are chosen."""

    prompt: list[int]
    max_new_tokens: int
    sampling: Sampling


@dataclass
class Run:
    """The result of one schedule.

    Attributes:
        tokens: the new ids of each job.
        latencies_s, latencies_steps: seconds and forward passes from the beginning until each job finished.
        steps: forward passes.
        seconds: until all jobs finished.
        block_utilisation: tokens in the cache over slots allocated, over all steps; None without a cache.
    """

    tokens: list[list[int]] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    latencies_steps: list[int] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    block_utilisation: float | None = None


def run_naive(model: Model, jobs: Sequence[Job], cache_dtype: str | None = None) -> Run:
    """Run one job after another, without a cache; with `cache_dtype` keys and values are rounded as in a cache."""
    run, started = Run(), perf_counter()
    for job in jobs:
        generation = Generation(
            model, job.prompt, job.max_new_tokens, job.sampling, use_cache=False, cache_dtype=cache_dtype
        )
        run.tokens.append([step.token for step in generation])
        run.steps += len(run.tokens[-1])
        run.latencies_steps.append(run.steps)
        run.latencies_s.append(perf_counter() - started)
    run.seconds = perf_counter() - started
    return run


def run_static(model: Model, jobs: Sequence[Job], batch_size: int, cache_dtype: str | None = None) -> Run:
    """Run batches of this size, in order; a batch finishes when its longest answer does."""
    batching, run, started = StaticBatching(model, batch_size, cache_dtype), Run(), perf_counter()
    for first in range(0, len(jobs), batch_size):
        batch = jobs[first : first + batch_size]
        requests = [batching.submit(job.prompt, job.max_new_tokens, job.sampling) for job in batch]
        batching.run()
        run.tokens += [request.tokens for request in requests]
        run.latencies_steps += [batching.steps] * len(batch)
        run.latencies_s += [perf_counter() - started] * len(batch)
    run.steps, run.seconds = batching.steps, perf_counter() - started
    run.block_utilisation = batching.filled_slots / batching.reserved_slots
    return run


def run_continuous(
    model: Model, jobs: Sequence[Job], num_blocks: int | None = None, cache_dtype: str | None = None
) -> Run:
    """Run all jobs at once; before every step the engine decides which requests run."""
    engine, run, started = Engine(model, num_blocks=num_blocks, cache_dtype=cache_dtype), Run(), perf_counter()
    requests = [engine.submit(job.prompt, job.max_new_tokens, job.sampling) for job in jobs]
    finished_s = {}
    for event in engine.events():
        if event.step.finish_reason:
            finished_s[event.request] = perf_counter() - started
    run.tokens = [request.tokens for request in requests]
    run.latencies_steps = [request.latency_steps or 0 for request in requests]
    run.latencies_s = [finished_s[request] for request in requests]
    run.steps, run.seconds = engine.statistics.steps, perf_counter() - started
    slots = engine.statistics.used_blocks * engine.pool.block_size
    run.block_utilisation = engine.statistics.filled_slots / slots
    return run
