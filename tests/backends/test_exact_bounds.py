"""The exact backend's promise at the extremes: no sum rounds, so a sum in Python's whole numbers comes out the same.

Every number is taken to whole multiples of the smallest step of its array; if float64 had rounded anywhere, the sum
of the products of these whole numbers, which never rounds, would be another.
"""

from fractions import Fraction

import numpy as np
import pytest

from minillm.backends.exact import (
    MOST_TERMS,
    VALUE_BITS,
    WEIGHT_BITS,
    Exact,
    _weights_on_grid,
    bits_of,
    exact_sum,
    grid_step,
    on_grid,
)

OPS = Exact()


def exactly(row, column):
    """The sum of products, as a fraction, which never rounds."""
    return sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(row, column, strict=True))


def rows(kind, terms):
    rng = np.random.default_rng(terms)
    if kind == "largest":  # just below a power of two: as many steps as a number can have
        return np.full(terms, np.nextafter(1.0, 0))
    if kind == "one huge":
        return np.where(np.arange(terms) == terms // 2, 1e30, rng.normal(size=terms))
    if kind == "tiny":
        return rng.normal(size=terms) * 1e-200
    if kind == "mixed":
        return rng.normal(size=terms) * 10.0 ** rng.integers(-20, 20, terms)
    return np.zeros(terms)


KINDS = ["largest", "one huge", "tiny", "mixed", "zeros"]


@pytest.mark.parametrize("bits", [10, 23, 28, 45])
@pytest.mark.parametrize("kind", KINDS)
def test_a_grid_has_whole_multiples_and_errs_by_half_a_step(kind, bits):
    x = rows(kind, 64)
    rounded, step = on_grid(x, bits), grid_step(np.abs(x).max(), bits)
    steps = rounded / step
    assert np.array_equal(steps, np.rint(steps)) and np.abs(steps).max() <= 2**bits
    assert np.abs(rounded - x).max() <= step / 2


@pytest.mark.parametrize("terms", [1, 2, 3, 7, 64, 1000, 2048, 2049, 20_000])
@pytest.mark.parametrize("activations", KINDS)
@pytest.mark.parametrize("weights", ["largest", "mixed"])
def test_no_product_rounds(activations, weights, terms):
    x, weight = rows(activations, terms)[None], OPS.prepare(rows(weights, terms)[:, None])
    bits = OPS._bits(terms)
    on_their_grid = on_grid(x, bits - (bits // 2 - 2))
    assert Fraction(float(OPS.linear(x, weight)[0, 0])) == exactly(on_their_grid[0], weight[:, 0])


@pytest.mark.parametrize("terms", [1, 3, 1000, 2**17])
@pytest.mark.parametrize("kind", ["largest", "one huge", "mixed", "zeros"])
def test_no_sum_rounds(kind, terms):
    x = np.abs(rows(kind, terms))
    total = exact_sum(x, terms)[0]
    assert Fraction(float(total)) == exactly(on_grid(x, 53 - bits_of(terms)), np.ones(terms))
    assert total == exact_sum(x[::-1], terms)[0] == pytest.approx(x.sum(), rel=1e-9)


def test_a_sum_of_more_terms_than_promised_is_refused():
    with pytest.raises(AssertionError, match="a sum of 9 terms; exact up to 8"):
        exact_sum(np.ones(9), 8)


@pytest.mark.parametrize("keys", [1, 2, 1000, 2**16])
@pytest.mark.parametrize("scores", ["all equal", "one dominates", "spread"])
@pytest.mark.parametrize("sizes", ["equal", "one huge", "spread"])
def test_no_sum_over_the_keys_rounds(keys, scores, sizes):
    rng = np.random.default_rng(keys)
    weights = {
        "all equal": np.ones(keys),
        "one dominates": np.where(np.arange(keys) == keys // 2, 1.0, 1e-12),
        "spread": np.exp(-30 * rng.random(keys)),
    }[scores]
    scale = {
        "equal": np.ones(keys),
        "one huge": np.where(np.arange(keys) == 0, 1e9, 1.0),
        "spread": 10.0 ** rng.integers(-9, 9, keys),
    }[sizes]
    values = on_grid(np.nextafter(1.0, 0) * scale[None, :, None] * [1.0, -0.7], VALUE_BITS)  # [1, keys, 2]
    rounded = _weights_on_grid(weights[None, None, None], [(values, values)])[0, 0, 0]
    mixed = rounded @ values[0]  # [2]
    for column in range(2):
        assert Fraction(float(mixed[column])) == exactly(rounded, values[0, :, column])
    half_steps = keys * 2.0**-WEIGHT_BITS * 2 * (weights @ np.abs(values[0])).max()  # at most half a step a key
    np.testing.assert_allclose(mixed, weights @ values[0], rtol=0, atol=half_steps)


def test_the_longest_context_with_equal_scores():
    """Half of the weights' bits would be lost in a sum of MOST_TERMS keys, were they not counted."""
    values = on_grid(np.full((1, MOST_TERMS, 1), np.nextafter(1.0, 0)), VALUE_BITS)
    rounded = _weights_on_grid(np.ones((1, 1, 1, MOST_TERMS)), [(values, values)])[0, 0]  # [1, keys]
    total = exact_sum(np.ones(MOST_TERMS), MOST_TERMS)
    assert total[0] == MOST_TERMS
    step = grid_step(np.float64(MOST_TERMS), WEIGHT_BITS) * 2.0**-VALUE_BITS
    assert (rounded @ values[0])[0, 0] / step <= 2**53
    assert (rounded @ values[0])[0, 0] == (rounded[:, ::-1] @ values[0, ::-1])[0, 0] == rounded.sum() * values[0, 0, 0]
