"""Speculative decoding loses nothing: one draft token, whole requests, and the proof itself."""

from pathlib import Path

import numpy as np
import pytest
from every_path import assert_same_distribution, distribution
from hypothesis import given
from hypothesis import strategies as st
from properties import PROPERTIES, WITH_LAYERS
from unchecked import run_unchecked

from minillm.sampling import sample_from
from minillm.speculative.rounds import accept_or_correct


@given(
    weights=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=8).filter(
        lambda pairs: all(sum(one) for one in zip(*pairs, strict=True))
    )
)
def test_one_draft_token(weights):
    """min(p, q) + (1 - sum(min(p, q))) norm(max(0, p - q)) = p, and the draft token survives with sum(min(p, q))."""
    p, q = (np.array(one) / sum(one) for one in zip(*weights, strict=True))

    def outcome(path):
        draft_token = sample_from(q, path)
        token = accept_or_correct(draft_token, p, q, path)
        return token, token == draft_token

    found = distribution(outcome)
    tokens, survivals = {}, {}
    for (token, survived), probability in found.items():
        tokens[token] = tokens.get(token, 0.0) + probability
        survivals[survived] = survivals.get(survived, 0.0) + probability
    assert_same_distribution(tokens, dict(enumerate(p)))
    assert survivals.get(True, 0.0) == pytest.approx(np.minimum(p, q).sum(), abs=1e-12)


def test_a_uniform_remembers_its_answers():
    """A number drawn once and used twice is one number. Without that the proof would prove nothing."""

    def outcome(path):
        number = path.random()
        return number < 0.5, number * 2 < 0.4, int(np.searchsorted([0.1, 0.6], number, side="right"))

    expected = {(True, True, 0): 0.1, (True, True, 1): 0.1, (True, False, 1): 0.3, (False, False, 1): 0.1}
    assert_same_distribution(distribution(outcome), expected | {(False, False, 2): 0.4})


GROUPS = [PROPERTIES[number::3] for number in range(3)]  # a process for each: it takes a second to start


@pytest.mark.parametrize("properties, backend", [
    *((group, "exact") for group in GROUPS),
    pytest.param(WITH_LAYERS[:2], "cupy", marks=pytest.mark.slow),
    (WITH_LAYERS[2:], "cupy"),
])  # fmt: skip
def test_random_models(properties, backend):
    names = [each.__name__ for each in properties]
    assert run_unchecked(Path(__file__).parent / "properties.py", backend, *names) == names
