"""Order is nothing to the exact backend: the terms of every sum may be permuted, and no bit of the result changes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tensors import FakeCache, batch_of

from minillm.backends.exact import Exact, _weights_on_grid, norm, on_grid
from minillm.backends.plain import Plain

OPS = Exact()
seeds = st.integers(0, 2**32)


def spread(rng, *shape):
    """Numbers of very different sizes, so that an order of additions would show."""
    return rng.normal(size=shape) * 10.0 ** rng.integers(-4, 4, shape)


class Keys(FakeCache):
    """A cache that holds what one call writes, in two segments."""

    def write(self, layer, k, v):
        self.k, self.v = k.swapaxes(0, 1), v.swapaxes(0, 1)  # [kv_heads, keys, head_dim]

    def segments(self, layer, end):
        half = end // 2
        return [(self.k[:, :half], self.v[:, :half]), (self.k[:, half:end], self.v[:, half:end])]


def last_query(ops, q, k, v):
    """What the last query, which sees every key, takes from the values."""
    return ops.attention(q, k, v, batch_of([slice(0, len(k))], [Keys()]), 0, None)[-1]


@given(seed=seeds, inner=st.sampled_from([1, 5, 64, 576, 1536]))
def test_the_terms_of_a_product(seed, inner):
    rng = np.random.default_rng(seed)
    x, weight, order = spread(rng, 3, inner), spread(rng, inner, 7), rng.permutation(inner)
    in_order = OPS.linear(x, OPS.prepare([weight.T]))
    assert np.array_equal(in_order, OPS.linear(x[:, order], OPS.prepare([weight[order].T])))
    assert np.array_equal(in_order[1:2], OPS.linear(x[1:2], OPS.prepare([weight.T])))


@given(seed=seeds, width=st.sampled_from([2, 64, 576]))
def test_the_squares_of_a_norm(seed, width):
    rng = np.random.default_rng(seed)
    x, weight, order = spread(rng, 3, width), rng.normal(size=width), rng.permutation(width)
    assert np.array_equal(OPS.rms_norm(x, weight, 1e-5)[:, order], OPS.rms_norm(x[:, order], weight[order], 1e-5))


@given(seed=seeds, keys=st.sampled_from([2, 3, 50, 300]))
def test_the_keys_of_a_query(seed, keys):
    rng = np.random.default_rng(seed)
    q, k = rng.normal(size=(keys, 4, 8)), rng.normal(size=(keys, 2, 8))  # scores so near that many keys count
    v, order = spread(rng, keys, 2, 8), rng.permutation(keys)
    assert np.array_equal(last_query(OPS, q, k, v), last_query(OPS, q, k[order], v[order]))


@given(seed=seeds)
def test_sizes_at_the_edge_of_a_power_of_two(seed):
    """A sum that rounds falls on either side of the edge, as the order will have it, and halves the step or not."""
    rng = np.random.default_rng(seed)
    terms, order = rng.random(200), rng.permutation(200)
    values = np.full((1, 200, 1), 0.9)
    weights = (terms / terms.sum() / 1.01)[None, None, None]
    in_order = _weights_on_grid(weights, [(values, values)])
    assert np.array_equal(in_order[..., order], _weights_on_grid(weights[..., order], [(values, values)]))
    x = (terms / np.linalg.norm(terms) / 1.01)[None]
    assert np.array_equal(on_grid(x, norm(x), 27)[:, order], on_grid(x[:, order], norm(x[:, order]), 27))


def test_an_ordinary_backend_would_not_pass():
    rng = np.random.default_rng(0)
    x, weight, order = spread(rng, 3, 576), spread(rng, 576, 7), rng.permutation(576)
    assert not np.array_equal(Plain().linear(x, weight), Plain().linear(x[:, order], weight[order]))
