"""The theory of speculative decoding against the figures that its paper prints (Leviathan et al., 2211.17192)."""

import itertools

import pytest

from minillm.estimate.speculation import (
    acceptance_rate,
    best_k,
    break_even,
    operations,
    speedup,
    tokens_per_round,
)

TABLE_1 = [  # acceptance, k: operations, speed-up; with a draft that costs nothing
    (0.6, 2, 1.53, 1.96), (0.7, 3, 1.58, 2.53), (0.8, 2, 1.23, 2.44),
    (0.8, 5, 1.63, 3.69), (0.9, 2, 1.11, 2.71), (0.9, 10, 1.60, 6.86),
]  # fmt: skip
TABLE_4 = [  # k, acceptance, draft's cost: the formula's speed-up as printed
    (7, 0.75, 0.02, 3.2), (7, 0.80, 0.04, 3.3), (7, 0.82, 0.11, 2.5),
    (5, 0.65, 0.02, 2.4), (5, 0.73, 0.04, 2.6), (3, 0.74, 0.11, 2.0),
    (7, 0.62, 0.02, 2.3), (5, 0.68, 0.04, 2.4), (3, 0.71, 0.11, 2.0),
    (5, 0.53, 0.02, 1.9), (3, 0.55, 0.04, 1.8), (3, 0.56, 0.11, 1.6),
]  # fmt: skip
MEASURED = {2: 1.5, 4: 2.1, 8: 2.5}.__getitem__  # of so many rows, on a CPU


@pytest.mark.parametrize(("acceptance", "k", "work", "speed"), TABLE_1)
def test_table_1(acceptance, k, work, speed):
    assert operations(acceptance, k, 0) == pytest.approx(work, abs=0.005)
    assert speedup(acceptance, k, 0) == pytest.approx(speed, abs=0.005)


@pytest.mark.parametrize(("k", "acceptance", "cost", "printed"), TABLE_4)
def test_table_4(k, acceptance, cost, printed):
    """The inputs are rounded too: the printed figure lies between those of their bounds."""
    slowest = speedup(acceptance - 0.005, k, cost + 0.005)
    fastest = speedup(acceptance + 0.005, k, cost - 0.005)
    assert slowest - 0.05 < printed < fastest + 0.05


def test_section_1s_bigram_model():
    assert speedup(0.2, 3, 0) == pytest.approx(1.248)


@pytest.mark.parametrize(("cost", "best"), [(0.01, (5, 7, 9, 14, 24)), (0.1, (2, 3, 4, 6, 10)), (0.2, (1, 2, 3, 4, 7))])
def test_the_best_k(cost, best):
    assert tuple(best_k(acceptance, cost, 40) for acceptance in (0.5, 0.6, 0.7, 0.8, 0.9)) == best


def test_a_gain_is_possible_just_when_draft_tokens_are_accepted_more_often_than_they_cost():
    """Corollary 3.9, and then it is at least (1 + a) / (1 + c)."""
    for acceptance, cost in itertools.product((0.05, 0.3, 0.6, 0.95), (0.0, 0.1, 0.5, 0.9)):
        k = best_k(acceptance, cost, 40)
        assert (k > 0) == (acceptance > cost)
        assert not k or speedup(acceptance, k, cost) >= (1 + acceptance) / (1 + cost) - 1e-12


@pytest.mark.parametrize(("k", "acceptance"), [(1, 0.50), (3, 0.58), (7, 0.61)])
def test_a_processor_that_multiplies_slowly_needs_a_better_draft(k, acceptance):
    assert break_even(k, 0, MEASURED) == pytest.approx(acceptance, abs=0.005)
    assert speedup(break_even(k, 0, MEASURED), k, 0, MEASURED) == pytest.approx(1)
    assert break_even(k, 0) < 1e-9


def test_tokens_per_round():
    assert tokens_per_round(0.8, 3) == pytest.approx((1 - 0.8**4) / (1 - 0.8))
    assert (tokens_per_round(1, 5), tokens_per_round(0, 5), tokens_per_round(0.3, 0)) == (6, 1, 1)


def test_acceptance_is_one_minus_the_total_variation():
    p, q = [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]
    assert acceptance_rate(p, q) == 1 - sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2 == 0.5
