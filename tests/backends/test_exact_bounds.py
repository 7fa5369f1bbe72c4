"""The exact backend's promise at the extremes: no sum leaves the integers that float64 represents, so none rounds.

What float64 makes of a sum is held against Python's fractions, which never round; and the sum of all magnitudes,
which no part of the sum exceeds in any order, against 2**53 steps.
"""

from fractions import Fraction

import numpy as np
import pytest

from minillm.backends.exact import (
    MOST_TERMS,
    SMALLEST,
    Exact,
    _weights_on_grid,
    check_products,
    exact_sum,
    largest,
    norm,
    on_grid,
)

OPS = Exact()


def assert_sum_of_products_is_exact(found, row, column):
    """`found` is the sum without any rounding, and no part of it goes beyond 2**53 steps."""
    products = [Fraction(float(a)) * Fraction(float(b)) for a, b in zip(row, column, strict=True)]
    lowest_bits = [Fraction(p.numerator & -p.numerator, p.denominator) for p in products if p]
    step = min(lowest_bits, default=1)  # the largest power of two of which all products are multiples
    assert sum(abs(p) for p in products) <= 2**53 * step
    assert Fraction(float(found)) == sum(products)


def rows(kind, terms):
    rng = np.random.default_rng(terms)
    if kind == "just below a power of two":
        return np.full(terms, np.nextafter(1.0, 0))
    if kind == "one huge":
        return np.where(np.arange(terms) == terms // 2, 1e30, rng.normal(size=terms))
    if kind == "tiny":
        return rng.normal(size=terms) * 1e-100
    if kind == "denormal":
        return rng.normal(size=terms) * 1e-310
    if kind == "mixed":
        return rng.normal(size=terms) * 10.0 ** rng.integers(-20, 20, terms)
    return np.zeros(terms)


KINDS = ["just below a power of two", "one huge", "tiny", "denormal", "mixed", "zeros"]


@pytest.mark.parametrize("bits", [10, 25, 31])
@pytest.mark.parametrize("kind", KINDS)
def test_a_grid_has_integer_multiples_and_errs_by_half_a_step(kind, bits):
    x = rows(kind, 64)
    size = largest(x)
    step = 2.0 ** np.ceil(np.log2(1.01 * size[0]) - bits)
    rounded = on_grid(x, size, bits)
    assert np.array_equal(rounded, np.rint(x / step) * step)
    assert np.abs(rounded).max() < 2**bits * step
    assert np.abs(rounded - x).max() <= step / 2


def test_halves_are_rounded_to_even():
    steps = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2**20 + 0.5, 2**20 + 1.5, 1.9 * 2**20])
    expected = [0, 2, 2, 0, -2, 2**20, 2**20 + 2, np.rint(1.9 * 2**20)]
    assert on_grid(steps, largest(steps), 21).tolist() == expected


@pytest.mark.parametrize("terms", [1, 2, 3, 64, 2049])
@pytest.mark.parametrize("activations", KINDS)
@pytest.mark.parametrize("weights", ["just below a power of two", "mixed", "tiny", "denormal", "the same"])
def test_no_product_rounds(activations, weights, terms):
    x = rows(activations, terms)
    weight = OPS.prepare([((x if weights == "the same" else rows(weights, terms))[:, None]).T])
    product = OPS.linear(x[None], weight)[0, 0]
    assert_sum_of_products_is_exact(product, on_grid(x, norm(x), 27), weight[:, 0])
    reference = x @ weight[:, 0]
    assert abs(product - reference) <= 2.0**-26 * max(np.linalg.norm(x), SMALLEST) * np.linalg.norm(weight)


@pytest.mark.parametrize("terms", [1, 3, 576, 5000])
def test_the_bound_on_a_product_is_nearly_reached(terms):
    """A row along its column, as long as a grid allows: with one bit more, the sums would go beyond 2**53."""
    along = np.random.default_rng(terms).normal(size=terms)
    along *= 0.99 / np.linalg.norm(along)
    x, weight = on_grid(along, norm(along), 27), OPS.prepare([(along[:, None]).T])
    product = OPS.linear(along[None], weight)[0, 0]
    assert_sum_of_products_is_exact(product, x, weight[:, 0])
    assert 0.97 * 2**53 < product / (2.0**-27 * 2.0**-26) <= 2**53  # in steps: the norms are just below 1


def test_the_bound_holds_when_every_term_is_rounded_up():
    """A norm just below a power of two, which the rounding of equal terms, in row and column, lifts above it."""
    terms = next(n for n in range(1000, 5000) if 0.75 < 2**26 / n**0.5 % 1 < 0.9)
    equal = np.full(terms, (1 - 1e-9) / terms**0.5)
    x, weight = np.append(equal, 2.0**-27), np.append(equal, 2.0**-26)[:, None]  # and one step each
    column = OPS.prepare([weight.T])
    assert_sum_of_products_is_exact(OPS.linear(x[None], column)[0, 0], on_grid(x, norm(x), 27), column[:, 0])


@pytest.mark.parametrize("terms", [1, 3, 5000])
@pytest.mark.parametrize("kind", KINDS)
def test_no_sum_rounds(kind, terms):
    x = np.abs(rows(kind, terms))
    total = exact_sum(x)[0]
    assert_sum_of_products_is_exact(total, on_grid(x, x.max(keepdims=True), 31), np.ones(terms))
    assert total == exact_sum(x[::-1])[0] == pytest.approx(x.sum(), rel=1e-4 if kind == "denormal" else 1e-9)


def test_the_longest_sum():
    """As many equal terms as are promised, as large as a grid allows."""
    terms = np.full(MOST_TERMS, 0.99)
    term = Fraction(float(on_grid(terms, terms[:1], 31)[0]))
    assert MOST_TERMS * term < 2**53 * Fraction(2) ** -31
    assert Fraction(float(exact_sum(terms)[0])) == MOST_TERMS * term


def test_the_longest_product():
    terms = np.full(MOST_TERMS, 0.99)  # of norm 0.99 * 2**11
    row, column = on_grid(terms, norm(terms), 27), OPS.prepare([(terms[:, None]).T])[:, 0]
    term = Fraction(float(row[0])) * Fraction(float(column[0]))
    assert MOST_TERMS * term <= 2**53 * Fraction(2) ** (11 - 27 + 11 - 26)
    assert Fraction(float(OPS.linear(terms[None], column[:, None])[0, 0])) == MOST_TERMS * term


def test_a_sum_of_more_terms_than_promised_is_refused():
    with pytest.raises(AssertionError, match=f"a sum of {MOST_TERMS + 1} terms; exact up to {MOST_TERMS}"):
        exact_sum(np.ones(MOST_TERMS + 1))


@pytest.mark.parametrize("keys", [1, 2, 100, 2000])
@pytest.mark.parametrize("scores", ["all equal", "one dominates", "spread", "one far above"])
@pytest.mark.parametrize("sizes", ["equal", "one huge", "spread", "tiny", "some zero", "all zero"])
def test_no_sum_over_the_keys_rounds(keys, scores, sizes):
    rng = np.random.default_rng(keys)
    one = np.arange(keys) == keys // 2
    weights = {
        "all equal": np.ones(keys),
        "one dominates": np.where(one, 1.0, 1e-12),
        "spread": np.exp(-30 * rng.random(keys)),
        "one far above": np.where(one, 1.0, np.exp(-700.0)),  # the least weight that exp gives
    }[scores]
    scale = {
        "equal": np.ones(keys),
        "one huge": np.where(np.arange(keys) == 0, 1e9, 1.0),
        "spread": 10.0 ** rng.integers(-9, 9, keys),
        "tiny": 10.0 ** -rng.integers(90, 320, keys).astype(float),
        "some zero": (np.arange(keys) % 2).astype(float),
        "all zero": np.zeros(keys),
    }[sizes]
    values = np.nextafter(1.0, 0) * scale[:, None] * [1.0, -0.7]  # [keys, 2]
    on_theirs = on_grid(values, largest(values), 25)
    rounded = _weights_on_grid(weights[None, None, None], [(on_theirs[None], on_theirs[None])])[0, 0, 0]
    for i, column in enumerate(on_theirs.T):
        assert_sum_of_products_is_exact((rounded @ on_theirs)[i], rounded, column)
    half_steps = (keys * 2.0**-26 + 2.0**-23) * (weights @ largest(on_theirs))[0]  # at most half a step a key
    np.testing.assert_allclose(rounded @ on_theirs, weights @ values, rtol=0, atol=half_steps)


def test_the_longest_context_with_equal_scores():
    """Each of 2**22 weights may be rounded up by half a step, which one spare bit is for."""
    values = on_grid(np.full((1, MOST_TERMS, 1), 0.99), np.ones((1, 1, 1)), 25)
    rounded = _weights_on_grid(np.full((1, 1, 1, MOST_TERMS), 1.0), [(values, values)])[0, 0]  # [1, keys]
    term = Fraction(float(rounded[0, 0])) * Fraction(float(values[0, 0, 0]))
    assert MOST_TERMS * term <= 2**53 * Fraction(2) ** (23 - 27 - 25)  # the weights' sum is below 2**23
    assert Fraction(float((rounded @ values[0])[0, 0])) == MOST_TERMS * term


def test_a_matrix_product_that_rounds_is_noticed_at_load(monkeypatch):
    """Float32 stands in for a library that is not exact up to 2**53."""
    monkeypatch.setattr("minillm.backends.exact.float", np.float32, raising=False)
    check_products.cache_clear()
    with pytest.raises(OSError, match="rounds integers below"):
        Exact()
