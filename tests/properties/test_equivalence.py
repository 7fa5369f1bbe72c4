"""Every schedule gives what naive decoding gives: cached, chunked, ragged, truncated, forked."""

from engine_adapter import engines
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import EVERY_BACKEND, models, token_lists

import minillm

CAPACITY = 150


@given(data=st.data())
def test_cached_decoding_is_naive_decoding(data):
    engine = data.draw(engines())
    prompt = data.draw(token_lists(engine.vocab_size, 12))
    continuation = data.draw(token_lists(engine.vocab_size, 8))
    cache = engine.new_cache(CAPACITY)
    engine.assert_same(engine.prefill(prompt, cache), engine.naive(prompt))
    for count, token in enumerate(continuation, start=1):
        engine.assert_same(engine.decode(token, cache), engine.naive(prompt + continuation[:count]))


@given(data=st.data())
def test_chunked_prefill_is_whole_prefill(data):
    engine = data.draw(engines())
    prompt = data.draw(token_lists(engine.vocab_size, 24))
    cache = engine.new_cache(CAPACITY)
    engine.assert_same(engine.prefill(prompt, cache, chunk=data.draw(st.integers(1, 25))), engine.naive(prompt))
    assert engine.length(cache) == len(prompt)


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


@given(data=st.data())
def test_a_ragged_batch_is_its_sequences_one_by_one(data):
    engine = data.draw(engines())
    cached = data.draw(st.lists(st.lists(st.integers(0, engine.vocab_size - 1), max_size=10), min_size=1, max_size=4))
    new = [data.draw(token_lists(engine.vocab_size, 6)) for _ in cached]
    caches = [engine.new_cache(CAPACITY) for _ in cached]
    for tokens, cache in zip(cached, caches, strict=True):
        if tokens:
            engine.prefill(tokens, cache)
    logits = engine.batch(list(zip(new, caches, strict=True)))
    assert len(logits) == len(cached)
    for row, before, tokens, cache in zip(logits, cached, new, caches, strict=True):
        engine.assert_same(row, engine.naive(before + tokens))
        assert engine.length(cache) == len(before) + len(tokens)


@given(data=st.data())
def test_truncated_tokens_were_never_there(data):
    engine = data.draw(engines())
    kept, dropped, later = (data.draw(token_lists(engine.vocab_size, 8)) for _ in range(3))
    cache = engine.new_cache(CAPACITY)
    engine.prefill(kept + dropped, cache)
    engine.truncate(cache, len(kept))
    engine.assert_same(engine.prefill(later, cache), engine.naive(kept + later))


@given(data=st.data())
def test_forks_are_independent(data):
    engine = data.draw(engines())
    shared, left, right = (data.draw(token_lists(engine.vocab_size, 8)) for _ in range(3))
    first = engine.new_cache(CAPACITY)
    engine.prefill(shared, first)
    second = engine.fork(first)
    engine.assert_same(engine.prefill(left, first), engine.naive(shared + left))
    engine.assert_same(engine.prefill(right, second), engine.naive(shared + right))
    engine.assert_same(engine.decode(0, first), engine.naive([*shared, *left, 0]))


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
    )
    cached = minillm.generate(model, prompt, 10, sampling)
    naive = minillm.generate(model, prompt, 10, sampling, use_cache=False)
    assert (cached.tokens, cached.finish_reason) == (naive.tokens, naive.finish_reason)
