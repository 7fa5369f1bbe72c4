"""Tolerances: what rounding explains, what it does not, and what is proposed for an adapter."""

import numpy as np
import pytest
from direct_engine import FLOAT16, SOURCE, DirectEngine, direct_engines
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.verification.cache_properties import cached_decoding_is_naive_decoding
from minillm.verification.comparison import ROUNDOFF, UNITS, proposal, relative_difference, tie_gap, tolerance_of
from minillm.verification.models import FEATURES, configs


@pytest.mark.parametrize("dtype", ROUNDOFF)
def test_a_tolerance_is_a_number_of_units(dtype):
    assert tolerance_of(dtype) == UNITS * ROUNDOFF[dtype]


def test_an_unknown_dtype_is_one_line():
    with pytest.raises(ValueError, match="DTYPE is 'float8'; expected one of float64, float32, float16, bfloat16"):
        tolerance_of("float8")


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float16"])
def test_rounding_takes_some_of_the_units(dtype):
    """An engine that rounds every number is off by a few units at least, and by less than all of them."""
    differences = []

    @settings(max_examples=60, derandomize=True, database=None)
    @given(data=st.data())
    def measure(data):
        engine = data.draw(direct_engines(SOURCE.replace(*FLOAT16).replace("float16", dtype), float("inf")))
        engine.add_difference = differences.append
        cached_decoding_is_naive_decoding(engine, data)

    measure()
    units = np.array(differences) / ROUNDOFF[dtype]
    assert 1 < np.median(units) < UNITS / 8
    assert UNITS / 8 < units.max() < UNITS


@pytest.mark.parametrize("config", configs(FEATURES), ids=range(len(configs(FEATURES))))
def test_no_tiny_model_magnifies_rounding(config):
    """In 7,200 answers, the largest difference was 29 units. With a shorter embedding, it was 214."""
    engine, random = DirectEngine(config, SOURCE.replace(*FLOAT16)), np.random.default_rng(0)
    prompts = [list(map(int, random.integers(config.vocab_size, size=random.integers(1, 12)))) for _ in range(150)]
    found = [relative_difference(engine.prefill(one, engine.new_cache(1)), engine.naive(one)).max() for one in prompts]
    assert max(found) < UNITS / 2 * ROUNDOFF["float16"]


def test_what_is_not_finite_differs():
    expected = np.array([1.0, -2.0])
    assert list(relative_difference(np.array([np.nan, -2.0]), expected)) == [np.inf, 0.0]
    assert list(relative_difference(np.array([1.0, np.inf]), expected)) == [0.0, np.inf]


def test_a_gap_is_relative_to_the_largest_logit():
    logits = np.array([1.0, 3.0, -4.0])
    assert [tie_gap(logits, token) for token in range(3)] == [0.5, 0.0, 1.75]


@pytest.mark.parametrize(
    ("differences", "told"),
    [
        ([1.2e-3, 2e-3, 8e-4, 3e-3], 'write DTYPE = "float16" (tolerance 3e-02), or REFERENCE = "self"'),
        ([1e-2, 2e-2, 8e-3, 5e-2], 'write DTYPE = "bfloat16" (tolerance 2e-01), or REFERENCE = "self"'),
        ([1e-6, 1e-6, 2e-6, 0.3], ""),  # exact in most examples: a bug
        ([1e-3, 2e-3, 0.8], ""),  # far off in one
        ([0.5, 0.9, 0.7], ""),
        ([1e-6, 2e-6, 1e-6], ""),  # nothing is wrong
        ([2e-3], ""),  # too few
    ],
)
def test_a_tolerance_is_proposed_if_rounding_explains_all_differences(differences, told):
    text = proposal(differences, 1e-4)
    assert text.endswith(told)
    assert bool(text) == bool(told)
