"""Sampling: each filter, their order, the seed, and what is refused."""

import math

import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import Sampling
from minillm.sampling import log_probabilities, penalise, probabilities, sample, sample_from

PROBS = np.array([0.05, 0.4, 0.1, 0.3, 0.15])
LOGITS = np.log(PROBS)


def kept(**settings) -> list[int]:
    """The tokens that are left of PROBS."""
    return np.flatnonzero(probabilities(LOGITS, Sampling(**({"temperature": 1.0} | settings)))).tolist()


@st.composite
def logit_rows(draw):
    size, seed = draw(st.integers(1, 30)), draw(st.integers(0, 2**32))
    return draw(st.floats(0.1, 10)) * np.random.default_rng(seed).normal(size=size)


def softmax(logits):
    return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


def test_nothing_filtered_is_the_model_s_own_distribution():
    np.testing.assert_allclose(probabilities(LOGITS, Sampling(temperature=1.0)), PROBS)


def test_temperature_divides_the_logits():
    np.testing.assert_allclose(probabilities(LOGITS, Sampling(temperature=0.5)), PROBS**2 / (PROBS**2).sum())


def test_temperature_zero_is_the_first_of_the_largest():
    assert probabilities(np.array([1.0, 3.0, 3.0]), Sampling(temperature=0)).tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-9])
def test_a_tiny_temperature_is_greedy(temperature):
    assert probabilities(LOGITS, Sampling(temperature=temperature)).tolist() == [0, 1, 0, 0, 0]


def test_a_huge_temperature_is_uniform():
    np.testing.assert_allclose(probabilities(LOGITS, Sampling(temperature=1e300)), 0.2)


@pytest.mark.parametrize("k", [2**31, 2**63, 2**64, 10**30])
def test_a_top_k_beyond_every_vocabulary_keeps_all(k):
    assert kept(top_k=k) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "k, tokens", [(1, [1]), (2, [1, 3]), (3, [1, 3, 4]), (0, [0, 1, 2, 3, 4]), (99, [0, 1, 2, 3, 4])]
)
def test_top_k_keeps_the_k_most_probable(k, tokens):
    assert kept(top_k=k) == tokens


@pytest.mark.parametrize(
    "p, tokens", [(1e-9, [1]), (0.39, [1]), (0.41, [1, 3]), (0.69, [1, 3]), (0.71, [1, 3, 4]), (0.96, [0, 1, 2, 3, 4])]
)
def test_top_p_keeps_the_token_that_crosses(p, tokens):
    assert kept(top_p=p) == tokens


@given(logits=logit_rows(), p=st.floats(0.01, 0.99))
def test_top_p_is_the_smallest_set_that_reaches_p(logits, p):
    probs = softmax(logits)
    left = np.flatnonzero(probabilities(logits, Sampling(temperature=1.0, top_p=p)))
    assert probs[left].sum() >= p - 1e-12
    assert probs[left].sum() - probs[left].min() < p + 1e-12  # without the last one, p is not reached
    assert probs[left].min() >= np.delete(probs, left).max(initial=0.0)


@pytest.mark.parametrize("p, left", [(0.25, 1), (0.5, 2), (0.75, 3), (1.0, 4), (0.5 + 2**-30, 3)])
def test_top_p_that_is_reached_exactly_needs_no_further_token(p, left):
    assert np.count_nonzero(probabilities(np.zeros(4), Sampling(temperature=1.0, top_p=p))) == left


@pytest.mark.parametrize("p, tokens", [(0.0, [0, 1, 2, 3, 4]), (0.3, [1, 3, 4]), (0.74, [1, 3]), (1.0, [1])])
def test_min_p_is_a_share_of_the_largest(p, tokens):
    assert kept(min_p=p) == tokens


def test_top_p_looks_at_what_top_k_left():
    """Of 0.4 and 0.3, renormalised to 0.57 and 0.43, p = 0.5 needs the first alone; of all five it would take both."""
    assert kept(top_p=0.5) == [1, 3]
    assert kept(top_k=2, top_p=0.5) == [1]


def test_temperature_comes_before_top_p():
    """Cooled to squares, 0.4 is 0.58 of the mass: p = 0.5 needs nothing else."""
    assert kept(top_p=0.5) == [1, 3]
    assert kept(temperature=0.5, top_p=0.5) == [1]


def test_temperature_comes_before_min_p():
    assert kept(min_p=0.6) == [1, 3]
    assert kept(temperature=0.5, min_p=0.6) == [1]


def test_the_penalty_comes_before_everything():
    penalised = probabilities(np.array([2.0, 1.9, -1.0]), Sampling(repetition_penalty=1.5), seen=[0])
    assert penalised.argmax() == 1
    filtered = probabilities(
        np.array([2.0, 1.9, -1.0]), Sampling(temperature=1.0, top_k=1, repetition_penalty=1.5), [0]
    )
    assert np.flatnonzero(filtered).tolist() == [1]


@given(logits=logit_rows(), penalty=st.floats(0.3, 3), data=st.data())
def test_greedy_choices_are_penalised_too(logits, penalty, data):
    seen = data.draw(st.lists(st.integers(0, len(logits) - 1), max_size=9))
    sampling = Sampling(repetition_penalty=penalty)
    expected = probabilities(logits, sampling, seen).argmax()
    assert sample(logits, sampling, seen, sampling.generator()) == expected == penalise(logits, penalty, seen).argmax()


def test_the_penalty_divides_positive_and_multiplies_negative_logits_once():
    logits = np.array([2.0, -2.0, 0.0, 3.0])
    assert penalise(logits, 2.0, [0, 1, 2, 0, 1]).tolist() == [1.0, -4.0, 0.0, 3.0]
    assert logits.tolist() == [2.0, -2.0, 0.0, 3.0]


@given(
    logits=logit_rows(),
    temperature=st.floats(0.05, 20),
    top_k=st.none() | st.integers(0, 40),
    top_p=st.floats(0.01, 1),
    min_p=st.floats(0, 1),
)
def test_whatever_the_filters_the_best_token_is_left_and_the_ratios_stay(logits, temperature, top_k, top_p, min_p):
    probs = probabilities(logits, Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p))
    unfiltered = softmax(logits / temperature)
    left = probs > 0
    assert probs[logits.argmax()] > 0
    assert math.isclose(probs.sum(), 1.0, rel_tol=1e-12)
    np.testing.assert_allclose(probs[left], unfiltered[left] / unfiltered[left].sum(), rtol=1e-9)


@pytest.mark.parametrize("vocab", [6, 10_000])
def test_equal_probabilities_are_ordered_by_token_id(vocab):
    """Of 10,000 numbers, half of them equal, NumPy's quick sort would take others."""
    sampling = Sampling(temperature=1.0, top_k=3)
    assert np.flatnonzero(probabilities(np.zeros(vocab), sampling)).tolist() == [0, 1, 2]
    assert np.flatnonzero(probabilities(np.arange(vocab) % 2.0, sampling)).tolist() == [1, 3, 5]


def test_draws_have_the_frequencies_of_the_distribution():
    generator = np.random.default_rng(0)
    counts = np.bincount([sample_from(PROBS, generator) for _ in range(20_000)], minlength=5)
    # 5 standard deviations of a binomial with the largest variance, sqrt(0.24 / 20000) = 0.0035
    np.testing.assert_allclose(counts / 20_000, PROBS, atol=0.0175)


def test_a_token_without_probability_is_never_drawn():
    probs = np.array([0.0, 0.5, 0.0, 0.5, 0.0])
    generator = np.random.default_rng(1)
    assert {sample_from(probs, generator) for _ in range(500)} == {1, 3}


class Known(np.random.Generator):
    """A generator that gives one number."""

    def __init__(self, number):
        super().__init__(np.random.PCG64())
        self.number = number

    def random(self):
        return self.number


def test_a_draw_at_the_very_end_is_still_a_possible_token():
    probs = np.array([0.1] * 10 + [0.0])  # ten times 0.1 adds up to 0.9999999999999999
    assert sample_from(probs, Known(math.nextafter(1.0, 0.0))) == 9


@pytest.mark.parametrize(("number", "token"), [(0.0, 0), (0.25, 1), (math.nextafter(0.5, 0), 1), (0.5, 2), (0.75, 3)])
def test_each_token_has_the_numbers_from_its_sum_up_to_the_next_one(number, token):
    assert sample_from(np.full(4, 0.25), Known(number)) == token


@pytest.mark.parametrize("seed", [0, 7, 2**70])
def test_one_seed_one_sequence(seed):
    sampling = Sampling(temperature=1.0, seed=seed)
    first, second = (
        [sample(LOGITS, sampling, [], g) for _ in range(40)] for g in (sampling.generator(), sampling.generator())
    )
    assert first == second
    other = Sampling(temperature=1.0, seed=8).generator()
    assert first != [sample(LOGITS, sampling, [], other) for _ in range(40)]


def test_without_a_seed_runs_differ():
    first, second = (Sampling(temperature=1.0).generator() for _ in range(2))
    assert first.random() != second.random()


@given(logits=logit_rows())
def test_log_probabilities_are_of_the_raw_logits(logits):
    np.testing.assert_allclose(np.exp(log_probabilities(logits)), softmax(logits))


REFUSED = [
    {"temperature": math.nan}, {"temperature": -0.1}, {"temperature": math.inf}, {"top_p": 1.1},
    {"top_p": math.nan}, {"top_p": -1.0}, {"min_p": -0.1}, {"min_p": 1.1}, {"min_p": math.nan}, {"top_k": -2},
    {"repetition_penalty": 0.0}, {"repetition_penalty": -1.0}, {"repetition_penalty": math.nan}, {"seed": -1},
    {"repetition_penalty": math.inf}, {"repetition_penalty": 1.1e9}, {"repetition_penalty": 0.9e-9},
    {"logprobs": -1}, {"stop": [""]}, {"stop": ""}, {"stop": ["\ud800"]},
]  # fmt: skip


@pytest.mark.parametrize("penalty", [1e9, 1e-9])
@pytest.mark.parametrize("temperature", [0, 5e-324, 1e308])
def test_settings_that_are_taken_never_make_finite_logits_infinite(penalty, temperature):
    logits = np.array([3e38, -3e38, 1.0], np.float32)
    sampling = Sampling(temperature=temperature, repetition_penalty=penalty, seed=0)
    assert sample(logits, sampling, [0, 1, 2], sampling.generator()) in range(3)


@pytest.mark.parametrize("settings", REFUSED, ids=str)
def test_values_that_mean_nothing_are_refused_by_name(settings):
    with pytest.raises(ValueError, match=f"^{next(iter(settings))} is .*expected") as caught:
        Sampling(**settings)
    assert "\n" not in str(caught.value)


def test_what_other_programs_write_for_all_tokens_and_for_one(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    logits = np.array([1.0, 3.0, 2.0])
    assert (probabilities(logits, Sampling(1.0, top_k=-1)) == probabilities(logits, Sampling(1.0))).all()
    for top_p in (0, 0.0, 5e-324):
        assert list(probabilities(logits, Sampling(1.0, top_p=top_p))) == [0, 1, 0]
    assert list(probabilities(np.zeros(3), Sampling(1.0, top_p=0))) == [1, 0, 0]
    assert Sampling(stop=None) == Sampling(stop=[]) == Sampling()


def test_small_integers_of_numpy_do_not_overflow(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # they are taken, though not as annotated
    sampling = Sampling(top_k=np.uint8(200), seed=np.uint8(255), logprobs=np.uint8(3))
    assert [type(value) for value in (sampling.top_k, sampling.seed, sampling.logprobs)] == [int] * 3
