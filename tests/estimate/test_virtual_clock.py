"""The simulation makes the engine's own decisions, and shows what schedules do to latency."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checks import CONFIG
from unchecked import run_unchecked

import minillm
from minillm.batching.virtual_engine import VirtualEngine, VirtualStaticBatching
from minillm.estimate.arrivals import Arrival, alike, poisson_times_s
from minillm.estimate.hardware import find_gpu
from minillm.estimate.models import model_table
from minillm.estimate.serving import Serving, decode_time, prefill_time
from minillm.estimate.virtual_clock import replicas_needed, simulate_serving, step_seconds

pytestmark = pytest.mark.slow
SERVING = Serving(model_table()["llama-2-7b"], find_gpu("a100"))


def engine(budget=512):
    return VirtualEngine(num_blocks=4000, max_batch_tokens=budget)


@settings(max_examples=15)
@given(data=st.data())
def test_it_decides_as_the_engine_does(data):
    """The same tokens of the same requests in every step, with preemption, shared prefixes and late arrivals."""
    from random_models import random_model

    num_blocks, size, budget = (data.draw(st.integers(*bounds)) for bounds in ((6, 12), (1, 4), (1, 12)))
    real = minillm.Engine(random_model(CONFIG, 0)[0], size, num_blocks, budget)
    virtual = VirtualEngine(num_blocks, size, budget)
    pairs = []
    for _ in range(data.draw(st.integers(1, 3))):
        for _ in range(data.draw(st.integers(1, 3))):
            new_tokens = data.draw(st.integers(1, 3))
            room = min(num_blocks * size - new_tokens + 1, 8)
            prompt = data.draw(st.lists(st.integers(1, 2), min_size=1, max_size=room))
            sampling = minillm.Sampling(ignore_eos=True)
            pairs.append((real.submit(prompt, new_tokens, sampling), virtual.submit(prompt, new_tokens)))
        for _ in range(data.draw(st.integers(1, 4))):
            step_both(real, virtual, pairs)
    while virtual.has_work:
        step_both(real, virtual, pairs)
    assert not real.has_work
    assert [a.finished_step for a, _ in pairs] == [b.finished_step for _, b in pairs]


def step_both(real, virtual, pairs):
    if not virtual.has_work:
        return
    events, step = real.step(), virtual.step()
    partner = {id(b): a for a, b in pairs}
    assert [event.request for event in events] == [partner[id(request)] for request in step.got_token]
    for event, (_, request) in zip(events, enumerate(step.got_token), strict=True):
        request.completion.sequence[-1] = event.step.token  # what is published must be the same, too
    assert real.statistics.preemptions == virtual.statistics.preemptions
    assert real.pool.used == virtual.pool.used


def test_one_request_takes_a_prefill_and_its_decode_steps():
    run = simulate_serving([engine()], [Arrival(1.0, 500, 3)], step_seconds(SERVING))
    prefill_s, decode_s = prefill_time(SERVING, 500).seconds, decode_time(SERVING, 501).seconds
    assert run.ttft_s == pytest.approx([prefill_s])
    assert run.tpot_s == pytest.approx([decode_s], rel=1e-3)
    assert run.latency_s == pytest.approx([prefill_s + 2 * decode_s], rel=1e-3)
    assert (run.steps, run.tokens, run.utilisation) == (3, 3, pytest.approx(1.0))


@given(
    requests=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 40), st.integers(1, 9)), min_size=1, max_size=12),
    replicas=st.integers(1, 3),
    budget=st.integers(1, 64),
)
@settings(max_examples=12)
def test_littles_law_and_order_in_every_run(requests, replicas, budget):
    arrivals = [Arrival(at, prompt, new) for at, prompt, new in sorted(requests)]
    run = simulate_serving([engine(budget) for _ in range(replicas)], arrivals, lambda batch: 0.1 + 0.01 * len(batch))
    assert run.tokens == sum(new for _, _, new in requests)
    assert np.all(run.ttft_s > 0) and np.all(run.latency_s >= run.ttft_s)
    assert run.mean_number == pytest.approx(len(arrivals) / run.span_s * run.latency_s.mean())
    assert 0 < run.utilisation <= 1 + 1e-9


def test_static_batching_answers_the_short_request_with_the_long_one():
    """100 and 10 tokens at 50 ms a step: the article's example, and what continuous batching makes of it."""
    arrivals = [Arrival(0.0, 10, 100), Arrival(0.0, 10, 10)]
    static = simulate_serving([VirtualStaticBatching(2)], arrivals, lambda batch: 0.05)
    continuous = simulate_serving([engine()], arrivals, lambda batch: 0.05)
    assert static.latency_s == pytest.approx([5.0, 5.0])
    assert continuous.latency_s == pytest.approx([5.0, 0.5])


def test_continuous_batching_serves_more_than_static():
    generator = np.random.default_rng(0)
    lengths = np.minimum(generator.geometric(1 / 40, 120), 400)
    arrivals = [Arrival(0.0, 20, int(n)) for n in lengths]
    static = simulate_serving([VirtualStaticBatching(16)], arrivals, lambda batch: 0.05)
    continuous = simulate_serving([engine(16)], arrivals, lambda batch: 0.05)
    assert continuous.tokens == static.tokens
    assert continuous.tokens_per_s > 1.8 * static.tokens_per_s


def test_a_long_prompt_stalls_a_running_answer_unless_it_is_cut_into_chunks():
    arrivals = [Arrival(0.0, 10, 200), Arrival(0.5, 8000, 1)]
    whole = simulate_serving([engine(16_000)], arrivals, step_seconds(SERVING))
    chunked = simulate_serving([engine(256)], arrivals, step_seconds(SERVING))
    assert whole.longest_gap_s == pytest.approx(prefill_time(SERVING, 8000).seconds, rel=0.05)
    last_chunk_s = step_seconds(SERVING)([(256, 8000 - 256, 1), (1, 300, 1)])
    assert chunked.longest_gap_s <= last_chunk_s < whole.longest_gap_s / 5


def test_replicas_for_a_target():
    arrivals = alike(poisson_times_s(110, 300, np.random.default_rng(0)), 1, 1)
    answer = replicas_needed(engine, arrivals, lambda batch: 0.01 * len(batch), target_s=0.05)
    assert answer == 2  # 110 a second into a capacity of 100 each
    assert replicas_needed(engine, arrivals, lambda batch: 0.01 * len(batch), target_s=0.005, most=3) is None


def test_replicas_are_found_in_few_simulations():
    made = []

    def make():
        made.append(engine())
        return made[-1]

    arrivals = alike(np.arange(400) / 1950, 1, 1)  # 1,950 a second into a capacity of 100 each
    assert replicas_needed(make, arrivals, lambda batch: 0.01 * len(batch), target_s=0.011) == 20
    assert len(made) == sum((1, 2, 4, 8, 16, 32, 24, 20, 18, 19))  # of each simulation; one by one there would be 210


def test_nobody_waits_while_a_replica_is_idle():
    """One token each, 0.01 s each, another every 0.004 s: with three replicas one is always free."""
    arrivals = alike(np.arange(50) * 0.004, 1, 1)
    run = simulate_serving([engine() for _ in range(3)], arrivals, lambda batch: 0.01 * len(batch))
    assert run.ttft_s == pytest.approx(0.01)


def test_a_request_that_fits_no_pool_is_refused():
    with pytest.raises(ValueError, match="needs 3 blocks, but the pool has 2"):
        VirtualEngine(2, 16).submit(32, 2)


def test_thousands_of_requests_of_a_hundred_tokens():
    """In a process of its own, where nobody checks shapes."""
    result = run_unchecked("estimate/ten_thousand_virtual.py", "2000")
    assert result["tokens"] == 200_000
    assert result["seconds"] < 12  # a fifth of ten thousand, and of a minute
