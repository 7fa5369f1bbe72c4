"""Experiments with a clock: for claims about time, the engine is timed on this machine, now.

Times differ from machine to machine and from run to run. So no verdict rests on them and no page contains them: they
are printed next to the verdict. Things that are compared take turns, and medians are reported, so that other load on
the machine affects both sides alike.
"""

import functools
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np

from minillm.evidence.claims.ledger import digits, ms

ROUNDS = 5


def medians_s(actions: Sequence[Callable[[], Any]]) -> list[float]:
    """Return the median seconds of each action over 5 rounds in which they take turns; one more round warms up."""
    from minillm.benchmark.timing import seconds

    times = [[seconds(action) for action in actions] for _ in range(ROUNDS + 1)]
    return [median(row[index] for row in times[1:]) for index in range(len(actions))]


def _story() -> Any:
    from minillm.loading.load import load

    return load("story")


def _prefill(model: Any, tokens: int) -> Callable[[], Any]:
    """Return a function that runs a prompt of `tokens` tokens with an empty cache."""
    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill

    return lambda: prefill(model, [5] * tokens, KVCache(model, tokens))


def _step(model: Any, context: int, sequences: int = 1) -> Callable[[], Any]:
    """Return a function that runs a decode step of `sequences` sequences at this context, as often as it is called."""
    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill
    from minillm.transformer import forward_batch

    caches = [KVCache(model, context) for _ in range(sequences)]
    for cache in caches:
        prefill(model, [5] * (context - 1), cache)

    def step() -> None:
        forward_batch(model, [([5], cache) for cache in caches])
        for cache in caches:
            cache.truncate(context - 1)

    return step


def rows() -> list[str]:
    """Time prefill-8-vs-1: a pass over 8 tokens and one over 1."""
    model = _story()
    one, eight = medians_s([_prefill(model, 1), _prefill(model, 8)])
    return [f"{model.name}, one pass: 1 token {ms(one)}, 8 tokens {ms(eight)}: {eight / one:.1f} times"]


def prefill_line() -> list[str]:
    """Time prefill-formula: prefills of four lengths, and the line through their times."""
    model, lengths = _story(), (64, 128, 192, 256)
    times = medians_s([_prefill(model, tokens) for tokens in lengths])
    shown = f"{model.name}, prefill of {', '.join(map(str, lengths))} tokens: {', '.join(map(ms, times))}"
    return [shown, _line_through(lengths, times)]


def _line_through(lengths: Sequence[int], times: Sequence[float]) -> str:
    """Describe the line. If it falls as prompts grow, the times were noise: say that instead."""
    slope, start = np.polyfit(lengths, times, 1)
    if slope <= 0:
        return "these times were too noisy for a line through them: something else kept this machine busy"
    error = max(abs(start + slope * n - t) / t for n, t in zip(lengths, times, strict=True))
    return (
        f"the line through them: {ms(max(0.0, float(start)))} + {digits(float(slope) * 1e6)} us a token; "
        f"no point is more than {error:.0%} off"
    )


def shorter() -> list[str]:
    """Time short-prompts: a long prompt and one of a quarter of its length."""
    model = _story()
    long, short = medians_s([_prefill(model, 240), _prefill(model, 60)])
    return [f"{model.name}, prefill: 240 tokens {ms(long)}, 60 tokens {ms(short)}: {long / short:.1f} times"]


def crossover() -> list[str]:
    """Time faq-cache: a step from the cache and a pass over the whole sequence."""
    model, lengths = _story(), (2, 8, 32, 128)
    found = []
    for tokens in lengths:
        cached, again = medians_s([_step(model, tokens), _prefill(model, tokens)])
        found.append(f"{tokens} tokens {again / cached:.1f}")
    return [f"{model.name}, time to recompute the sequence over the time of a step: {', '.join(found)}"]


def batches() -> list[str]:
    """Time faq-both: decode steps of batches of 1, 4 and 16."""
    from minillm.benchmark.timing import seconds

    model, found = _story(), []
    for batch in (1, 4, 16):
        step = _step(model, 60, batch)
        times = [seconds(step) for _ in range(25)][5:]
        half, tail = (ms(float(np.percentile(times, percentile))) for percentile in (50, 99))
        found.append(
            f"{model.name}, batch {batch}: {batch / np.mean(times):,.0f} tokens/s; a step p50 {half}, p99 {tail}"
        )
    return found


@functools.cache
def formats() -> list[str]:
    """Measure quant-2-4x and quant-14-35: a model in every format, in processes of their own."""
    from minillm.benchmark.fastest import fastest_backend
    from minillm.benchmark.formats import measure_formats

    backend, found = fastest_backend(), []
    costs = measure_formats("story", backend, ("float32", "bfloat16", "int8", "int4"), lambda *_: None)
    for weights, cost in costs.items():
        rate = cost.tokens_per_s.median
        found.append(
            f"story in {weights}, {backend} backend: {digits(cost.resident_bytes / 1e6)} MB in memory, {rate:,.0f} "
            f"tokens/s, {rate / costs['float32'].tokens_per_s.median:.2f} times float32"
        )
    return found


EXPERIMENTS: dict[str, Callable[[], list[str]]] = {
    "prefill-8-vs-1": rows,
    "prefill-formula": prefill_line,
    "short-prompts": shorter,
    "faq-cache": crossover,
    "faq-both": batches,
    "quant-2-4x": formats,
    "quant-14-35": formats,
}


def timings(id: str) -> list[str]:
    """Time the experiment of this claim now; return a line for each result, or [] if the claim is not about time."""
    return EXPERIMENTS[id]() if id in EXPERIMENTS else []
