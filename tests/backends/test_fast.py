"""Every method of the fast backend gives what its readable twin in `plain` gives; only the layout is its own."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensors import FakeCache, batch_of

from minillm.backends import fast
from minillm.backends.fast import SOME_ROWS, Fast
from minillm.backends.layout import COPY_BLOCK
from minillm.backends.plain import Plain
from minillm.config import RopeParameters

FAST, PLAIN = Fast(), Plain()


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def assert_agree(fast, plain):
    assert fast.shape == plain.shape and fast.dtype == plain.dtype
    np.testing.assert_allclose(fast, plain, atol=1e-12)


SIZES = st.sampled_from([1, 2, 7, 64, COPY_BLOCK, COPY_BLOCK + 1, 3 * COPY_BLOCK - 5])


@given(inner=SIZES, out=SIZES, from_file=st.booleans())
def test_a_weight_is_contiguous_along_its_longer_axis(inner, out, from_file):
    weight = numbers(out, inner).T if from_file else numbers(inner, out)
    prepared = FAST.prepare([weight.T])
    assert np.array_equal(prepared, weight)
    assert prepared.flags.c_contiguous or (inner > out and np.shares_memory(prepared, weight))


@given(
    rows=st.integers(1, 12) | st.sampled_from([SOME_ROWS.stop - 1, SOME_ROWS.stop]),
    inner=SIZES,
    out=SIZES,
    biased=st.booleans(),
)
def test_linear(rows, inner, out, biased):
    x, weight, bias = numbers(rows, inner), numbers(out, inner, seed=1).T, numbers(out, seed=2) if biased else None
    assert_agree(FAST.linear(x, FAST.prepare([weight.T]), bias), PLAIN.linear(x, PLAIN.prepare([weight.T]), bias))


@given(vocab=SIZES, dim=SIZES)
def test_a_tied_embedding_is_one_copy(vocab, dim):
    embedding = numbers(vocab, dim)
    head = FAST.prepare([embedding])
    rows = FAST.embedding_of(head)
    assert np.array_equal(rows, embedding) and np.array_equal(head, embedding.T)
    assert np.shares_memory(rows, head)
    x = numbers(1, dim, seed=1)
    assert_agree(FAST.linear(x, head), PLAIN.linear(x, PLAIN.prepare([embedding])))


@given(shape=st.sampled_from([(1, 8), (5, 16), (3, 2, 4)]), eps=st.sampled_from([1e-6, 1e-2]))
def test_rms_norm(shape, eps):
    x, weight = numbers(*shape), numbers(shape[-1], seed=1)
    assert_agree(FAST.rms_norm(x, weight, eps), PLAIN.rms_norm(x, weight, eps))


@pytest.mark.parametrize("head_dim", [2, 4, 64])
def test_rope(head_dim):
    x, positions, rope = numbers(3, 5, head_dim), np.array([0, 7, 1000]), RopeParameters()
    rotations = [backend.cos_sin(positions, rope, head_dim) for backend in (FAST, PLAIN)]
    assert_agree(FAST.rope(x, rotations[0]), PLAIN.rope(x, rotations[1]))


@pytest.mark.parametrize("size", [0.01, 1.0, 300.0])
def test_swiglu(size):
    gate, up = size * numbers(3, 5), numbers(3, 5, seed=1)
    untouched = gate.copy(), up.copy()
    assert_agree(FAST.swiglu(gate, up), PLAIN.swiglu(gate, up))
    assert np.array_equal(untouched, (gate, up))


@pytest.mark.parametrize("rows", [1, 3, 8, 70])
def test_nothing_becomes_float64(rows):
    """One float64 number in the way would double the bytes of all that follows."""
    x, weight = numbers(rows, 8).astype(np.float32), numbers(12, 8).astype(np.float32).T
    assert FAST.linear(x, FAST.prepare([weight.T])).dtype == np.float32
    assert FAST.rms_norm(x, weight[:, 0], 1e-5).dtype == np.float32
    assert FAST.swiglu(x, x).dtype == np.float32
    q, k = numbers(rows, 4, 6).astype(np.float32), numbers(2, rows, 6).astype(np.float32)
    assert FAST.attend(q, [(k, k)], 0, None).dtype == np.float32


def test_what_is_hidden_counts_for_nothing_even_if_its_score_is_infinite():
    q, k, v = numbers(3, 2, 4), numbers(1, 3, 4, seed=1), numbers(1, 3, 4, seed=2)
    q[:, :, 0], k[:, 2, 0], k[:, :2, 0] = 1e200, 1e200, 0  # the product of the third key with every query overflows
    with np.errstate(over="ignore", invalid="ignore"):
        after = FAST.attend(q, [(k, v)], 0, None)
    q[:, :, 0] = 0
    assert_agree(after[:2], FAST.attend(q[:2], [(k[:, :2], v[:, :2])], 0, None))


@given(
    lengths=st.lists(st.integers(0, 20), min_size=1, max_size=19),
    window=st.sampled_from([None, 1, 4]),
    segments=st.booleans(),
    scales=st.lists(st.sampled_from([1.0, 1e4]), min_size=19, max_size=19),
    many_bytes=st.sampled_from([0, fast.MANY_BYTES]),
)
def test_attention_of_one_query_a_sequence(lengths, window, segments, scales, many_bytes):
    """As in decode: every sequence has its own length; a paged cache has segments; threads may divide them."""

    class Cache(FakeCache):
        def __init__(self, seed, length):
            self.length = length
            self.keys, self.values = numbers(2, 21, 4, seed=seed), numbers(2, 21, 4, seed=seed + 100)

        def write(self, layer, k, v):
            self.keys[:, self.length], self.values[:, self.length] = k[0], v[0]

        def segments(self, layer, end):
            cuts = range(0, end, 3) if segments else [0]
            parts = [slice(cut, min(cut + 3, end) if segments else end) for cut in cuts]
            return [(self.keys[:, part], self.values[:, part]) for part in parts]

    n = len(lengths)
    q, k, v = numbers(n, 6, 4), numbers(n, 2, 4, seed=1), numbers(n, 2, 4, seed=2)
    q *= np.array(scales[:n])[:, None, None]  # whose exponentials overflow unless its own maximum is taken away
    spans = [slice(row, row + 1) for row in range(n)]
    with patch.object(fast, "MANY_BYTES", many_bytes), patch.object(fast, "thread_count", lambda: 3):
        outputs = [
            backend.attention(q, k, v, batch_of(spans, [Cache(*pair) for pair in enumerate(lengths)]), 0, window)
            for backend in (FAST, PLAIN)
        ]
    assert_agree(*outputs)


@pytest.mark.parametrize("keys, tasks", [(fast.MANY_BYTES // 48 - 1, 0), (fast.MANY_BYTES // 48, 3)])
def test_threads_divide_sequences_with_many_keys(keys, tasks):
    """Six sequences, each with `keys` keys of one number."""
    cache = np.zeros((1, keys, 1))
    counts = []
    with (
        patch.object(fast, "thread_count", lambda: 3),
        patch.object(fast, "run_tasks", lambda work, count: counts.append(count) or [work(n) for n in range(count)]),
    ):
        fast._attend_each(numbers(6, 1, 1), [[(cache, cache)]] * 6)
    assert counts == ([tasks] if tasks else [])
