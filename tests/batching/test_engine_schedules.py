"""Whatever shares the engine with it, and whenever, a request gives what `generate` without a cache gives alone.

Arrival, lengths, budget, block size, pool size, preemption and cancellation are random; prompts begin alike, so that
prefix hits of every length occur. To the bit on the exact backend; on the fast one the same tokens, and
log-probabilities up to the rounding of float64 sums in another order.
"""

import dataclasses
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import cache_dtypes, models, random_model
from same_logprobs import assert_same_logprobs
from test_checks import CONFIG
from test_generation import text_model

import minillm
from minillm import Engine, Sampling
from minillm.backends.cupy import CuPy
from minillm.backends.exact import Exact


@st.composite
def samplings(draw, vocab_size):
    return Sampling(
        temperature=draw(st.sampled_from([0.0, 0.7, 1.5])),
        top_k=draw(st.none() | st.integers(1, vocab_size)),
        top_p=draw(st.sampled_from([1.0, 0.8])),
        repetition_penalty=draw(st.sampled_from([1.0, 1.4])),
        seed=draw(st.integers(0, 2**32)),
        logprobs=2,
        ignore_eos=draw(st.sampled_from([True, True, True, False])),
    )


@st.composite
def submissions(draw, vocab_size):
    """(prompt, max_new_tokens, sampling); prompts are beginnings of one common text, some with an end of their own."""
    common = draw(st.lists(st.integers(0, vocab_size - 1), min_size=9, max_size=9))
    own = st.just([]) | st.lists(st.integers(0, vocab_size - 1), max_size=3)
    prompt = st.builds(lambda cut, end: common[:cut] + end, st.integers(1, 4) | st.integers(1, 9), own)
    new_tokens = st.integers(4, 9) | st.integers(1, 9)
    return draw(st.lists(st.tuples(prompt, new_tokens, samplings(vocab_size)), min_size=2, max_size=5))


@st.composite
def engines(draw, model, wanted, least_budget=1, **others):
    """An engine in which the largest request fits, often little more, so that requests have to give way."""
    block_size = draw(st.integers(1, 4))
    largest = max(-(-(len(prompt) + new - 1) // block_size) for prompt, new, _ in wanted)
    return Engine(
        model,
        block_size=block_size,
        num_blocks=largest + draw(st.sampled_from([0, 1, 2, 40])),
        max_batch_tokens=draw(st.integers(least_budget, 4) | st.integers(5, 30)),
        preemption=draw(st.sampled_from(["recompute", "swap"])),
        cache_dtype=draw(cache_dtypes(model)),
        **others,
    )


def alone(model, wanted, cache_dtype=None):
    """What the request is equal to: naive decoding, and nobody beside it."""
    prompt, new, sampling = wanted
    return minillm.generate(model, prompt, new, sampling, use_cache=False, cache_dtype=cache_dtype)


def dtype_of(engine):
    """What its caches are stored in."""
    return engine.pool.memory.stored_as


def assert_same(model, request, out):
    assert (request.tokens, request.finish_reason) == (out.tokens, out.finish_reason)
    assert_same_logprobs(model, request.logprobs, out.logprobs)


def step_within_budget(engine):
    before = dataclasses.replace(engine.statistics)
    events, after = engine.step(), engine.statistics
    tokens = after.decode_tokens + after.prefill_tokens - before.decode_tokens - before.prefill_tokens
    assert tokens <= engine.scheduler.max_batch_tokens
    return events


def check_books(engine, requests):
    """After a step: first come, first served; each block is counted; nobody who waits holds one."""
    running, waiting = engine.scheduler.running, list(engine.scheduler.waiting)
    assert running + waiting == [request for request in requests if not request.finished]
    tables = Counter(block for request in running for block in request.cache.table)
    assert engine.pool.reference_counts == [tables[block] for block in range(engine.pool.num_blocks)]
    assert not any(request.cache.table for request in requests if request not in running)


@settings(max_examples=25)
@given(data=st.data())
def test_every_request_is_as_if_alone(data):
    model = data.draw(models(backends=("exact", "numpy", "cupy")))
    wanted = data.draw(submissions(model.config.vocab_size))
    engine = data.draw(engines(model, wanted))
    requests, left, events = [], list(wanted), {}
    for action in data.draw(st.lists(st.sampled_from(["submit", "submit", "step", "step", "cancel"]), max_size=20)):
        if action == "submit" and left:
            requests.append(engine.submit(*left.pop(0)))
        elif action == "cancel" and requests:
            engine.cancel(data.draw(st.sampled_from(requests)))
        elif action == "step":
            for event in step_within_budget(engine):
                events.setdefault(event.request, []).append(event.step)
        check_books(engine, requests)
    requests += [engine.submit(*each) for each in left]
    for event in engine.events():
        events.setdefault(event.request, []).append(event.step)

    for request, each in zip(requests, wanted, strict=True):
        out = alone(model, each, dtype_of(engine))
        if request.finish_reason == "cancelled":
            out = dataclasses.replace(out, finish_reason="cancelled", tokens=out.tokens[: len(request.tokens)],
                                      logprobs=out.logprobs[: len(request.logprobs)])  # fmt: skip
        assert_same(model, request, out)
        steps = events.get(request, [])
        assert [step.token for step in steps] == request.tokens
        assert [step.finish_reason for step in steps if step.finish_reason] in ([], [request.finish_reason])
    assert (engine.pool.used, engine.pool.available) == (0, engine.pool.num_blocks)
    assert engine.statistics.filled_slots <= engine.statistics.used_blocks * engine.pool.block_size


@settings(max_examples=15)
@given(data=st.data())
def test_samples_of_one_prompt_are_as_if_alone(data):
    """Forked, preempted one by one, cancelled: sample i is the request with seed + i."""
    model = data.draw(models(backends=("exact", "numpy", "cupy")))
    wanted = data.draw(submissions(model.config.vocab_size))[:2]
    engine = data.draw(engines(model, wanted))
    groups = [(each, engine.submit_samples(each[0], data.draw(st.integers(1, 4)), *each[1:])) for each in wanted]
    for _ in range(data.draw(st.integers(0, 6))):
        engine.step()
    cancelled = data.draw(st.none() | st.sampled_from([request for _, samples in groups for request in samples]))
    if cancelled:
        engine.cancel(cancelled)
    engine.run()
    for (prompt, new, sampling), samples in groups:
        for number, request in enumerate(samples):
            if request.finish_reason != "cancelled":
                own = dataclasses.replace(sampling, seed=sampling.seed + number)
                assert_same(model, request, alone(model, (prompt, new, own), dtype_of(engine)))
    assert engine.pool.used == 0


class Interrupted:
    """Ctrl-C at the nth call that carries rows through the model: what both backends below do first."""

    countdown = 0

    def tick(self):
        self.countdown -= 1
        if self.countdown == 0:
            raise KeyboardInterrupt

    def linear(self, x, weight, bias=None):
        self.tick()
        return super().linear(x, weight, bias)

    def attend(self, *arguments):
        self.tick()
        return super().attend(*arguments)

    def add_linear(self, *arguments):
        self.tick()
        return super().add_linear(*arguments)

    def to_host(self, x):
        self.tick()
        return super().to_host(x)


class InterruptedExact(Interrupted, Exact):
    pass


class InterruptedCuPy(Interrupted, CuPy):
    def attention(self, *arguments):
        self.tick()
        return super().attention(*arguments)


@settings(max_examples=15)
@given(data=st.data(), countdown=st.integers(1, 150), backend=st.sampled_from(["exact", "cupy"]))
def test_an_interrupted_step_is_made_again(data, countdown, backend):
    """Wherever it stops: between two layers, or when the caches have grown and the tokens are not chosen yet."""
    model, _ = random_model(CONFIG, data.draw(st.integers(0, 9)), backend)
    ops = InterruptedExact() if backend == "exact" else InterruptedCuPy(model.ops.device)
    ops.choose_dtype("float64")
    ops.countdown = countdown
    wanted = data.draw(submissions(CONFIG.vocab_size))
    wanted = [(prompt, min(new, 5), sampling) for prompt, new, sampling in wanted]
    engine = data.draw(engines(dataclasses.replace(model, ops=ops), wanted))
    requests = [engine.submit(*each) for each in wanted]
    events = []
    while engine.has_work:
        try:
            events += step_within_budget(engine)
        except KeyboardInterrupt:
            check_books(engine, requests)
    for request, each in zip(requests, wanted, strict=True):
        assert_same(model, request, alone(model, each, dtype_of(engine)))
        assert [event.step.token for event in events if event.request is request] == request.tokens
    assert engine.pool.used == 0


TEXT_MODELS = {backend: text_model(backend=backend) for backend in ("numpy", "cupy")}


@settings(max_examples=12)
@given(data=st.data())
def test_text_and_stop_strings_are_as_if_alone(data):
    """Each request has its own text: a stop string found in one ends no other."""
    model = TEXT_MODELS[data.draw(st.sampled_from(sorted(TEXT_MODELS)))]
    stop = st.lists(st.sampled_from(["a", "!", "é", " b", "ab"]), max_size=2)
    wanted = [
        (data.draw(st.lists(st.integers(2, 200), min_size=1, max_size=5)), data.draw(st.integers(1, 12)),
         Sampling(temperature=1.0, seed=data.draw(st.integers(0, 2**32)), stop=data.draw(stop)))
        for _ in range(data.draw(st.integers(1, 4)))
    ]  # fmt: skip
    engine = data.draw(engines(model, wanted))
    requests = [engine.submit(*each) for each in wanted]
    texts = dict.fromkeys(requests, "")
    for event in engine.events():
        texts[event.request] += event.step.text
    for request, each in zip(requests, wanted, strict=True):
        out = alone(model, each, dtype_of(engine))
        assert (texts[request], request.text, request.tokens) == (out.text, out.text, out.tokens)
        assert request.finish_reason == out.finish_reason
