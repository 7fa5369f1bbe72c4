"""Static batching: the tokens are those of each request alone, and the short ones wait for the long."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import cache_dtypes, models
from test_checks import CONFIG, MODEL
from test_engine_schedules import alone, assert_same, submissions

import minillm
from minillm import Sampling, StaticBatching
from minillm.batching.virtual_engine import VirtualStaticBatching
from minillm.transformer import forward_batch

ON = Sampling(ignore_eos=True)


def test_the_short_one_waits_for_the_long_one():
    """orca-steps: 100 and 10 tokens take 100 steps both, and 45% of the places are idle."""
    model = dataclasses.replace(MODEL, config=dataclasses.replace(CONFIG, max_position_embeddings=128))
    batching = StaticBatching(model, batch_size=2)
    long, short = batching.submit([1, 2], 100, ON), batching.submit([3], 10, ON)
    assert (long.latency_steps, long.first_token_step, long.finished_step) == (None, None, None)
    batching.run()
    assert (long.latency_steps, short.latency_steps, batching.steps) == (100, 100, 100)
    assert (long.first_token_step, short.first_token_step) == (1, 1)
    assert batching.idle_slot_steps / batching.slot_steps == 0.45


def test_the_next_batch_waits_for_the_whole_one_before_it():
    batching = StaticBatching(MODEL, batch_size=2)
    requests = [batching.submit([1], new, ON) for new in (3, 6, 2)]
    batching.run()
    assert [request.latency_steps for request in requests] == [6, 6, 8]
    assert (batching.slot_steps, batching.idle_slot_steps) == (2 * 6 + 2, 3)


@settings(max_examples=10)
@given(data=st.data(), batch_size=st.integers(1, 5))
def test_every_request_is_as_if_alone(data, batch_size):
    model = data.draw(models(backends=("exact", "numpy", "cupy")))
    wanted = data.draw(submissions(model.config.vocab_size))
    cache_dtype = data.draw(cache_dtypes(model))
    batching = StaticBatching(model, batch_size, cache_dtype)
    requests = [batching.submit(*each) for each in wanted]
    assert not any(request.finished for request in requests)
    batching.run()
    for request, each in zip(requests, wanted, strict=True):
        assert_same(model, request, alone(model, each, cache_dtype))


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_has_at_least_one_place(batch_size):
    with pytest.raises(ValueError, match="batch_size"):
        StaticBatching(MODEL, batch_size)


def test_an_interrupted_batch_is_run_again(monkeypatch):
    """One of them has its answer already, the other goes on."""
    static, passes = StaticBatching(MODEL, 2), []
    short, long = static.submit([1, 2], 2), static.submit([3], 5, Sampling(ignore_eos=True))

    def interrupted(*arguments):
        passes.append(1)
        if len(passes) == 4:
            raise KeyboardInterrupt
        return forward_batch(*arguments)

    monkeypatch.setattr("minillm.batching.static_batching.forward_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        static.run()
    static.run()
    for request, prompt, count in ((short, [1, 2], 2), (long, [3], 5)):
        assert request.tokens == minillm.naive_decode(MODEL, prompt, count)
        assert request.finish_reason == "length"


def test_slots_are_counted_in_every_step():
    """Two requests of 2 and 4 steps: caches of 3 and 4 slots hold 2 and 1 tokens, then 3 and 2, 3 and 3, 3 and 4."""
    batching = StaticBatching(MODEL, 2)
    batching.submit([1, 2], 2, ON)
    batching.submit([3], 4, ON)
    batching.run()
    assert (batching.reserved_slots, batching.filled_slots) == (4 * 7, 3 + 5 + 6 + 7)
    assert (batching.steps, batching.slot_steps, batching.idle_slot_steps) == (4, 8, 2)


def test_without_a_model_the_unfinished_ones_alone_run_too():
    """New, cached and logit rows of each step: the answer of one token is done after the first, and waits."""
    batching = VirtualStaticBatching(2)
    short, long = batching.submit(3, 1), batching.submit(2, 3)
    steps = [batching.step() for _ in range(3)]
    assert [step.batch for step in steps] == [[(3, 0, 1), (2, 0, 1)], [(1, 2, 1)], [(1, 3, 1)]]
    assert [step.finished for step in steps] == [[], [], [short, long]] and not batching.has_work
