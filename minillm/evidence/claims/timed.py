"""Experiments with a clock: the engine run on this machine, here and now, for claims that are about time.

Times differ from machine to machine and from run to run, so no verdict rests on them and no page holds them: they
are shown beside it. What is compared takes turns, and medians count, so that whatever else the machine does meets both
sides alike.
"""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np

from minillm.evidence.claims.ledger import digits, ms

ROUNDS = 5


def medians_s(actions: Sequence[Callable[[], Any]]) -> list[float]:
    """Seconds of each, the median of several rounds in which they take turns; the first round does not count."""
    from minillm.benchmark.timing import seconds

    times = [[seconds(action) for action in actions] for _ in range(ROUNDS + 1)]
    return [median(row[place] for row in times[1:]) for place in range(len(actions))]


def _story() -> Any:
    from minillm.loading.load import load

    return load("story")


def _prefill(model: Any, tokens: int) -> Callable[[], Any]:
    """A prompt of so many tokens, from nothing."""
    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill

    return lambda: prefill(model, [5] * tokens, KVCache(model, tokens))


def _step(model: Any, context: int, sequences: int = 1) -> Callable[[], Any]:
    """A decode step of so many sequences at this context, which can be made again."""
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
    """prefill-8-vs-1: a pass over 8 tokens beside one over 1."""
    model = _story()
    one, eight = medians_s([_prefill(model, 1), _prefill(model, 8)])
    return [f"{model.name}, one pass: 1 token {ms(one)}, 8 tokens {ms(eight)}: {eight / one:.1f} times"]


def prefill_line() -> list[str]:
    """prefill-formula: prefill times, and the line through them."""
    model, lengths = _story(), (64, 128, 192, 256)
    times = medians_s([_prefill(model, tokens) for tokens in lengths])
    shown = f"{model.name}, prefill of {', '.join(map(str, lengths))} tokens: {', '.join(map(ms, times))}"
    return [shown, _line_through(lengths, times)]


def _line_through(lengths: Sequence[int], times: Sequence[float]) -> str:
    """The line in words. Longer prompts take longer, so one that falls says only that something else took the time."""
    slope, start = np.polyfit(lengths, times, 1)
    if slope <= 0:
        return "these times were too noisy for a line through them: something else kept this machine busy"
    error = max(abs(start + slope * n - t) / t for n, t in zip(lengths, times, strict=True))
    return (
        f"the line through them: {ms(max(0.0, float(start)))} + {digits(float(slope) * 1e6)} us a token; "
        f"no point is more than {error:.0%} off"
    )


def shorter() -> list[str]:
    """short-prompts: a long prompt beside one of a quarter of it."""
    model = _story()
    long, short = medians_s([_prefill(model, 240), _prefill(model, 60)])
    return [f"{model.name}, prefill: 240 tokens {ms(long)}, 60 tokens {ms(short)}: {long / short:.1f} times"]


def crossover() -> list[str]:
    """faq-cache: a step from the cache beside a pass over the whole sequence."""
    model, lengths = _story(), (2, 8, 32, 128)
    found = []
    for tokens in lengths:
        cached, again = medians_s([_step(model, tokens), _prefill(model, tokens)])
        found.append(f"{tokens} tokens {again / cached:.1f}")
    return [f"{model.name}, recomputing the sequence takes so many times as long as a step: {', '.join(found)}"]


def batches() -> list[str]:
    """faq-both: decode steps of batches; all their sequences wait for the whole of it."""
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


EXPERIMENTS: dict[str, Callable[[], list[str]]] = {
    "prefill-8-vs-1": rows,
    "prefill-formula": prefill_line,
    "short-prompts": shorter,
    "faq-cache": crossover,
    "faq-both": batches,
}


def timings(id: str) -> list[str]:
    """What was timed just now for this claim, a line each; nothing for a claim that is not about time."""
    return EXPERIMENTS[id]() if id in EXPERIMENTS else []
