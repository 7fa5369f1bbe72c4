"""Requests that speculate in one engine, each accepting its own number, give what each gives alone: a property.

Arrivals, lengths, budget, block size, pool size, preemption, cancellation and interruptions are random. Everything is
equal to the bit on the exact backend, sampled text too. Run as a program, which is told the backend and the number of
examples: the shape checker would take most of the time.
"""

import dataclasses
import json
import sys
from collections import Counter
from unittest import mock

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from random_models import architectures, cache_dtypes, random_model
from same_logprobs import assert_same_logprobs
from test_engine_schedules import check_books, dtype_of, submissions

import minillm
from minillm import Engine, PromptLookup
from minillm.speculative import speculator
from minillm.transformer import forward_batch

BACKEND, EXAMPLES = sys.argv[1:] if __name__ == "__main__" else ("exact", "25")
reached = Counter()  # corners that the random schedules must reach, or else they prove little


@st.composite
def speculating_engines(draw, model, wanted):
    """An engine in which the largest request fits, often little more; its rounds may take the whole budget."""
    k = draw(st.sampled_from([1, 2, 3, 5, "auto"]))
    other = dataclasses.replace(draw(architectures()), vocab_size=model.config.vocab_size)
    drafts = model, minillm.skip_layers(model), random_model(other, 7, BACKEND)[0], PromptLookup(), PromptLookup()
    block_size = draw(st.integers(1, 4))
    largest = max(-(-(len(prompt) + new - 1) // block_size) for prompt, new, _ in wanted)
    most = 15 if k == "auto" else k
    return Engine(
        model,
        block_size=block_size,
        num_blocks=largest + draw(st.sampled_from([0, 1, 2, 40])),
        max_batch_tokens=most + draw(st.sampled_from([1, 2, 3, 4, 30])),
        preemption=draw(st.sampled_from(["recompute", "swap"])),
        drafter=draw(st.sampled_from(drafts)),
        k=k,
        cache_dtype=draw(cache_dtypes(model)),
    )


def interrupted(*arguments):
    """What Ctrl-C leaves behind at the worst moment: the pass is made, and nobody learns of it."""
    forward_batch(*arguments)
    raise KeyboardInterrupt


def step_interrupted(engine, module, corner):
    """A step whose next forward pass in this module is interrupted, if there is one, and has to be made again."""
    with mock.patch.object(sys.modules[module], "forward_batch", interrupted):
        try:
            return engine.step()
        except KeyboardInterrupt:
            reached[corner] += 1
            return []


# The same examples in every run of the same code, so that the corners they reach are known.
@settings(
    max_examples=int(EXAMPLES), derandomize=True, deadline=None, phases=[Phase.generate], report_multiple_bugs=False
)
@given(data=st.data())
def every_request_is_as_if_alone(data):
    model, _ = random_model(data.draw(architectures()), data.draw(st.integers(0, 2**32)), BACKEND)
    wanted = data.draw(submissions(model.config.vocab_size))
    engine = data.draw(speculating_engines(model, wanted))
    requests, left, events = [], list(wanted), []
    actions = ["submit", "submit", "step", "step", "step", "cancel", "interrupt", "interrupt draft"]
    for action in ["submit", *data.draw(st.lists(st.sampled_from(actions), min_size=4, max_size=20))]:
        if action == "submit" and left:
            requests.append(engine.submit(*left.pop(0)))
        elif action == "cancel" and requests:
            engine.cancel(data.draw(st.sampled_from(requests)))
        elif action == "interrupt":
            events += step_interrupted(engine, "minillm.batching.engine", "interrupted")
        elif action == "interrupt draft":
            events += step_interrupted(engine, "minillm.prefill", "interrupted draft")
        elif action == "step":
            before = tokens_run(engine)
            events += engine.step()
            assert tokens_run(engine) - before <= engine.scheduler.max_batch_tokens
            check_books(engine, requests)
    requests += [engine.submit(*each) for each in left]
    events += list(engine.events())
    for request, each in zip(requests, wanted, strict=True):
        check_alone(engine, request, each, [event.step.token for event in events if event.request is request])
    note_corners(engine)


def tokens_run(engine):
    counts = engine.statistics
    return counts.decode_tokens + counts.prefill_tokens + counts.draft_tokens


def check_alone(engine, request, wanted, heard):
    (prompt, new_tokens, sampling), speculator = wanted, engine.speculator
    k, dtype = speculator.k, dtype_of(engine)
    alone = minillm.speculative_generate(
        engine.model, speculator.drafter, prompt, new_tokens, sampling, k, cache_dtype=dtype
    )
    if sampling.temperature == 0:
        plain = minillm.generate(engine.model, prompt, new_tokens, sampling, cache_dtype=dtype)
        assert (plain.tokens, plain.finish_reason) == (alone.tokens, alone.finish_reason)
    count = len(request.tokens)
    assert request.tokens == alone.tokens[:count]
    assert_same_logprobs(engine.model, request.logprobs, alone.logprobs[:count])
    assert heard == request.tokens[: len(heard)]
    if request.finish_reason != "cancelled":
        assert (request.finish_reason, count, len(heard)) == (alone.finish_reason, len(alone.tokens), count)


def note_corners(engine):
    counts, pool = engine.statistics, engine.pool
    assert pool.used == 0
    assert counts.accepted_tokens <= counts.draft_tokens
    reached.update(
        name for name in ("preemptions", "prefix_tokens", "swapped_tokens", "accepted_tokens") if getattr(counts, name)
    )
    reached["rejected"] += counts.accepted_tokens < counts.draft_tokens


if __name__ == "__main__":
    speculator.draft_step_cost = lambda draft, target: 0.05  # else no draft pays, and "auto" never drafts
    every_request_is_as_if_alone()
    print(json.dumps(reached))
