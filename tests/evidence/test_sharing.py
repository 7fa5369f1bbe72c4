"""Blocks saved by parallel sampling: the vLLM paper's Figure 15a, and the engine's own count."""

import numpy as np
import pytest
from test_checks import MODEL

import minillm
from minillm import BlockPool, PagedKVCache
from minillm.evidence.simulations.request_lengths import ALPACA_SAMPLES, SHAREGPT_SAMPLES, draw_lengths
from minillm.evidence.simulations.sharing import share_saved


def saved(trace, samples):
    return [100 * share_saved(draw_lengths(trace, 6000, 0), n, 16) for n in samples]


def test_alpaca():
    assert saved(ALPACA_SAMPLES, [2, 4, 6]) == pytest.approx([6.09, 8.53, 9.79], abs=2)


def test_sharegpt_whose_prompts_are_longer():
    shares = saved(SHAREGPT_SAMPLES, [2, 4, 6])
    assert [shares[0], shares[2]] == pytest.approx([16.2, 30.5], abs=4)
    assert shares == sorted(shares)


def test_the_closed_form():
    """f (n - 1) / n for blocks of one token: here the prompt is 80 of 80 + 10.5 tokens on average."""
    assert share_saved(np.array([[80, 20]]), 4, 1) == pytest.approx(80 / 90.5 * 3 / 4)


@pytest.mark.parametrize(("prompt", "output"), [(8, 6), (7, 6), (6, 3), (2, 9)])
def test_real_caches_share_as_many_blocks(prompt, output):
    pool = BlockPool(MODEL, 64, 4)
    first = PagedKVCache(pool)
    minillm.prefill(MODEL, list(range(prompt)), first)
    samples = [first, first.fork(), first.fork()]
    held = alone = 0
    for _ in range(output):
        minillm.forward_batch(MODEL, [([5], cache) for cache in samples])
        held += pool.used
        alone += sum(len(cache.table) for cache in samples)
    assert share_saved(np.array([[prompt, output]]), 3, 4) == pytest.approx(1 - held / alone)
