"""What exactness costs: the exact backend against another one, in alternating rounds of one run."""

from typing import Any

import numpy as np

from minillm.benchmark.timing import seconds, spread
from minillm.decode import decode_step
from minillm.kv_cache.contiguous import KVCache
from minillm.model import Model
from minillm.prefill import prefill


def exact_cost(model: Model, exact: Model, context: int, new_tokens: int, rounds: int) -> dict[str, Any]:
    """Return how many times as long the exact backend takes, as median and spread over the rounds.

    Args:
        model: the model on another backend.
        exact: the same model on the exact backend.
        context: tokens of the prefill.
        new_tokens: decode steps after it, at batch 1.
        rounds: number of times that both are measured, in turn.
    """
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, context)
    for either in (model, exact):
        _phases(either, ids[:8], 1)  # warms up
    ratios = [np.divide(_phases(exact, ids, new_tokens), _phases(model, ids, new_tokens)) for _ in range(rounds)]
    prefills, decodes = ([float(ratio) for ratio in phase] for phase in np.transpose(ratios))
    return {"prefill_times_as_long": spread(prefills).record(), "decode_times_as_long": spread(decodes).record()}


def _phases(model: Model, ids: Any, new_tokens: int) -> tuple[float, float]:
    """Return the seconds of a prefill, and of the decode steps after it."""
    cache = KVCache(model, len(ids) + new_tokens)
    prefill_s = seconds(lambda: prefill(model, ids, cache))
    return prefill_s, seconds(lambda: [decode_step(model, 0, cache) for _ in range(new_tokens)])
