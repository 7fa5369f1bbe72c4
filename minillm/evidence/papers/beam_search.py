"""Beam search over a paged cache: the blocks that beams share, counted in every step (vLLM, 2309.06180, section 4.4).

Beams are samples whose prompts grow: the best candidates share all blocks of their common parent. This search exists
only for the paper's figure; the engine does not offer it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np


def beams_saved(model: Any, prompt: Sequence[int], width: int, steps: int, block_size: int) -> float:
    """Return blocks saved by sharing over blocks needed without it, both summed over all steps."""
    from minillm.kv_cache.paged import BlockPool, PagedKVCache
    from minillm.prefill import prefill
    from minillm.sampling import log_probabilities
    from minillm.transformer import forward_batch

    pool = BlockPool(model, (len(prompt) + steps) * 2 * width // block_size + 2 * width, block_size)
    first = PagedKVCache(pool)
    best = _best(log_probabilities(prefill(model, prompt, first))[None], width)
    beams = [(first.fork(), token, score) for _, token, score in best]
    first.free()
    used = alone = 0
    for _ in range(steps):
        logits = forward_batch(model, [([token], cache) for cache, token, _ in beams])
        used, alone = used + pool.used, alone + sum(len(cache.table) for cache, _, _ in beams)
        scores = np.stack([score + log_probabilities(row) for row, (_, _, score) in zip(logits, beams, strict=True)])
        chosen = [(beams[parent][0].fork(), token, score) for parent, token, score in _best(scores, width)]
        for cache, _, _ in beams:
            cache.free()
        beams = chosen
    return 1 - used / alone


def _best(scores: Any, width: int) -> list[tuple[int, int, float]]:
    """Return beam, token and score of the `width` best candidates of all beams; `scores` is `[beams, vocab]`."""
    flat = np.argsort(-scores, axis=None, kind="stable")[:width]
    return [(int(index) // scores.shape[1], int(index) % scores.shape[1], float(scores.flat[index])) for index in flat]
