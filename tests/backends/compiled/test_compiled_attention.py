"""Compiled attention equals `attention.attend`, with the same bits for every cache, chunk and number of threads."""

import numpy as np
import pytest
from several_threads import on_three_threads

from minillm.attention import attend
from minillm.ragged_batch import CacheLayout

pytest.importorskip("numba")
from minillm.backends.compiled.attention import NO_WINDOW, attention
from minillm.backends.compiled.plan import plan
from minillm.backends.compiled.sharing import new_counters

TOKENS = 150  # three pieces, the last one not full


def draw(heads, kv_heads, head_dim, seed=0):
    rng = np.random.default_rng(seed)
    k, v = (rng.standard_normal((2, kv_heads, TOKENS, head_dim)).astype(np.float32) for _ in range(2))
    return rng.standard_normal((TOKENS, heads, head_dim)).astype(np.float32), k, v


def contiguous(k, v):
    return CacheLayout(k, v, k.shape[2], [0])


def paged(k, v, block_size=16):
    """The same keys in blocks in random order; slots that are not written are not numbers."""
    table = np.random.default_rng(3).permutation(-(-TOKENS // block_size) + 2)
    shape = (*k.shape[:2], len(table) * block_size, k.shape[3])
    keys, values = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    for t in range(TOKENS):
        slot = table[t // block_size] * block_size + t % block_size
        keys[:, :, slot], values[:, :, slot] = k[:, :, t], v[:, :, t]
    return CacheLayout(keys, values, block_size, [int(block) for block in table])


def run(q, layouts, new, lengths, window=None, threads=True):
    heads, kv_heads = q.shape[1], layouts[0].keys.shape[1]
    planned, out = tuple(plan(layouts, new, lengths, heads, kv_heads, q.dtype)), np.empty(q.shape, q.dtype)
    seen = NO_WINDOW if window is None else window
    args = (q, 1, kv_heads, seen, planned, out, new_counters(2))
    on_three_threads(attention, *args) if threads else attention(*args)
    return out


@pytest.mark.parametrize("heads, kv_heads, head_dim", [(9, 3, 64), (4, 2, 6), (3, 1, 20), (70, 1, 8)])
@pytest.mark.parametrize("window", [None, 100, 7])
def test_attention_equals_plain_and_has_the_same_bits_in_every_schedule(heads, kv_heads, head_dim, window):
    q, k, v = draw(heads, kv_heads, head_dim)
    whole = run(q, [contiguous(k, v)], [TOKENS], [0], window)
    expected = attend(q, [(k[1], v[1])], 0, window).reshape(q.shape)
    np.testing.assert_allclose(whole, expected, atol=3e-6)
    for t in (0, 5, 63, 64, 127, 128, 149):  # decode
        np.testing.assert_array_equal(run(q[t : t + 1], [paged(k, v)], [1], [t], window)[0], whole[t])
    for start, end in ((0, 17), (17, 130), (130, 150)):  # chunks
        for layout in (contiguous(k, v), paged(k, v, block_size=5)):
            chunk = run(q[start:end], [layout], [end - start], [start], window, threads=False)
            np.testing.assert_array_equal(chunk, whole[start:end])


def test_sequences_of_a_ragged_batch_do_not_change_each_other():
    (q, k, v), (q2, k2, v2) = draw(9, 3, 64), draw(9, 3, 64, seed=1)
    together = run(np.concatenate([q[40:90], q2[149:]]), [paged(k, v), contiguous(k2, v2)], [50, 1], [40, 149])
    np.testing.assert_array_equal(together[:50], run(q[40:90], [contiguous(k, v)], [50], [40]))
    np.testing.assert_array_equal(together[50:], run(q2[149:], [paged(k2, v2)], [1], [149]))


def test_what_later_tokens_hold_never_reaches_an_earlier_one():
    q, k, v = draw(4, 2, 8)
    expected = run(q[:90], [contiguous(k, v)], [90], [0])
    k[:, :, 80:], v[:, :, 80:] = np.nan, np.inf
    np.testing.assert_array_equal(run(q[:90], [contiguous(k, v)], [90], [0])[:80], expected[:80])


def test_a_score_that_is_not_a_number_makes_the_row_not_a_number():
    q, k, v = draw(4, 2, 8)
    k[1, :, 3] = np.nan
    assert np.isnan(run(q[5:6], [contiguous(k, v)], [1], [5])).all()


def test_heads_that_are_too_large_are_refused():
    with pytest.raises(ValueError, match="head_dim is 264; the compiled backend takes at most 256"):
        q, k, v = draw(1, 1, 264)
        run(q, [contiguous(k, v)], [TOKENS], [0])
