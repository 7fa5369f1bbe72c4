"""Every schedule gives what naive decoding gives: cached, chunked, ragged, truncated, forked."""

import pytest
from engine_adapter import engines
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import EVERY_BACKEND, models, token_lists
from same_logprobs import assert_same_logprobs

import minillm
from minillm.verification.drawing import CAPACITY
from minillm.verification.properties import NEEDS

REACHED = {holds: needs for holds, needs in NEEDS.items() if not {"remove", "shift", "keep"} & set(needs)}


@pytest.mark.parametrize("holds", REACHED, ids=lambda holds: holds.__name__)
@given(data=st.data())
def test_what_is_asked_of_every_engine(holds, data):
    engine = data.draw(engines().filter(lambda engine: all(engine.has(name) for name in REACHED[holds])))
    holds(engine, data)


@given(data=st.data())
def test_any_cuts_of_a_long_prompt_give_the_same(data):
    """Cuts anywhere, in a prompt that is longer than a tile of the fast backend's prefill."""
    engine = data.draw(engines())
    length = data.draw(st.sampled_from([65, 90, 128, 140]))
    prompt = [(7 * i * i + 3 * i) % engine.vocab_size for i in range(length)]
    cuts = sorted(data.draw(st.sets(st.integers(1, length - 1), max_size=4)))
    cache = engine.new_cache(CAPACITY)
    for start, end in zip([0, *cuts], [*cuts, length], strict=True):
        logits = engine.batch([(prompt[start:end], cache)])[0]
    engine.assert_same(logits, engine.naive(prompt))


@settings(max_examples=25)
@given(data=st.data())
def test_greedy_generation_is_naive_decode(data):
    model = data.draw(models(EVERY_BACKEND))
    prompt = data.draw(token_lists(model.config.vocab_size, 8))
    expected = minillm.naive_decode(model, prompt, 6)
    sampling = minillm.Sampling(ignore_eos=True)
    for use_cache in (True, False):
        assert minillm.generate(model, prompt, 6, sampling, use_cache=use_cache).tokens == expected


@settings(max_examples=25)
@given(data=st.data())
def test_sampled_generation_is_the_same_without_a_cache(data):
    """One request, one generator: the cache changes no draw, whatever the filters."""
    model = data.draw(models(EVERY_BACKEND))
    prompt = data.draw(token_lists(model.config.vocab_size, 8))
    sampling = minillm.Sampling(
        temperature=data.draw(st.sampled_from([0.0, 0.5, 1.0, 1.7])),
        top_k=data.draw(st.none() | st.integers(1, 11)),
        top_p=data.draw(st.floats(0.1, 1.0)),
        min_p=data.draw(st.floats(0.0, 0.3)),
        repetition_penalty=data.draw(st.sampled_from([1.0, 1.3, 0.8])),
        seed=data.draw(st.integers(0, 2**32)),
        ignore_eos=data.draw(st.booleans()),
        logprobs=data.draw(st.none() | st.integers(0, 3)),
    )
    cached = minillm.generate(model, prompt, 10, sampling)
    naive = minillm.generate(model, prompt, 10, sampling, use_cache=False)
    assert (cached.tokens, cached.finish_reason) == (naive.tokens, naive.finish_reason)
    assert_same_logprobs(model, cached.logprobs, naive.logprobs)
