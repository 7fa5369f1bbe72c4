"""Several requests speculate in one engine step, each as if it were alone."""

import dataclasses
import sys

import numpy as np
import pytest
from bigrams import bigram_model
from test_checks import MODEL
from unchecked import run_unchecked

import minillm
from minillm import Engine, PromptLookup, Sampling
from minillm.transformer import forward_batch

ON = Sampling(ignore_eos=True)


@pytest.mark.parametrize(
    ("backend", "examples"),
    [
        ("exact", 25), ("cupy", 15),
        pytest.param("exact", 150, marks=pytest.mark.slow), pytest.param("cupy", 60, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_every_request_is_as_if_alone(backend, examples):
    reached = run_unchecked("batching/speculative_schedules.py", backend, str(examples))
    corners = {
        "preemptions",
        "prefix_tokens",
        "swapped_tokens",
        "accepted_tokens",
        "rejected",
        "interrupted",
        "interrupted draft",
    }
    assert corners <= reached.keys()


@pytest.mark.parametrize(("k", "passes"), [(3, 0), (3, 1), (3, 2), ("auto", 0)])
def test_an_interrupted_draft_is_drawn_again(k, passes, monkeypatch):
    """With the same random numbers and draft length; and what it left in the draft model's cache is gone."""
    monkeypatch.setattr("minillm.speculative.speculator.draft_step_cost", lambda *_: 0.05)  # so "auto" drafts
    sampling, left = Sampling(1.0, seed=2, ignore_eos=True), [passes]
    alone = minillm.speculative_generate(MODEL, MODEL, [1, 2, 3], 8, sampling, k)
    engine = Engine(MODEL, drafter=MODEL, k=k)
    request = engine.submit([1, 2, 3], 8, sampling)
    engine.step()

    def interrupted(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return forward_batch(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["minillm.prefill"], "forward_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.step()
    engine.run()
    assert request.tokens == alone.tokens


def test_each_request_accepts_its_own_number():
    """A draft that is always right, and one step for two requests with different ends."""
    engine = Engine(MODEL, drafter=MODEL, k=3)
    short, long = engine.submit([1, 2], 3, ON), engine.submit([3, 4, 5], 9, ON)
    engine.step()
    assert (len(short.tokens), len(long.tokens)) == (1, 1)
    events = engine.step()
    assert [event.step.origin for event in events if event.request is short] == ["accepted", "bonus"]
    assert [event.step.origin for event in events if event.request is long] == [*["accepted"] * 3, "bonus"]
    assert (short.finished, long.finished) == (True, False)
    engine.run()
    assert engine.statistics.steps == 3
    assert long.tokens == minillm.naive_decode(MODEL, [3, 4, 5], 9)
    assert (engine.statistics.draft_tokens, engine.statistics.accepted_tokens) == (7, 7)


def test_draft_tokens_that_were_rejected_are_never_published():
    """Blocks that another prompt may begin with hold verified tokens only."""
    engine = Engine(MODEL, block_size=1, drafter=PromptLookup(), k=5)
    first = engine.submit([1, 2, 1], 10, ON)
    engine.run()
    known = [entry for block in range(engine.pool.num_blocks) if (entry := engine.pool.prefixes._by_block.get(block))]
    text = [1, 2, 1, *first.tokens]
    assert engine.statistics.accepted_tokens < engine.statistics.draft_tokens
    assert sorted(len(chain(entry)) for entry in known) == list(range(1, 13))
    assert all(chain(entry) == text[: len(chain(entry))] for entry in known)


def chain(entry):
    return ([] if entry.parent is None else chain(entry.parent)) + list(entry.tokens)


def test_logits_that_are_no_numbers_lose_nothing_that_was_accepted():
    """The round ends before them; then every step says so, and the request is as it was, as without speculation."""
    rows = [[0, 9, 0, 0], [0, 0, 9, 0], [0, 0, 0, 9], [9, 0, 0, 0]]
    draft = bigram_model(rows)
    damaged = np.where(np.arange(4) == 2, np.nan, 1.0)[:, None] * np.eye(4)  # after token 2
    model = dataclasses.replace(draft, embedding=damaged)
    for drafter in (None, draft):
        engine, heard = Engine(model, drafter=drafter, k=3), []
        request = engine.submit([0], 9, ON)
        for _ in range(3):
            with pytest.raises(ValueError, match="not all finite numbers"):
                for event in engine.events():
                    heard.append(event.step.token)
        assert heard == request.tokens == [1, 2]


def test_a_round_must_fit_into_a_step():
    with pytest.raises(ValueError, match="a round of 4 draft tokens is 5 rows, but max_batch_tokens is 4"):
        Engine(MODEL, max_batch_tokens=4, drafter=MODEL, k=4)
    with pytest.raises(ValueError, match="a round of 15 draft tokens"):
        Engine(MODEL, max_batch_tokens=15, drafter=MODEL)
    with pytest.raises(ValueError, match="expected an integer of at least 1, or 'auto'"):
        Engine(MODEL, drafter=MODEL, k="most")


def test_samples_of_one_prompt_speculate_each_with_its_seed():
    engine = Engine(MODEL, block_size=2, drafter=MODEL, k=2)
    samples = engine.submit_samples([1, 2, 3], 3, 8, Sampling(1.0, seed=5, ignore_eos=True))
    engine.run()
    for i, sample in enumerate(samples):
        sampling = Sampling(1.0, seed=5 + i, ignore_eos=True)
        assert sample.tokens == minillm.speculative_generate(MODEL, MODEL, [1, 2, 3], 8, sampling, 2).tokens


@pytest.mark.parametrize("preemption", ["recompute", "swap"])
@pytest.mark.parametrize("num_blocks", [12, 14, 15])
def test_requests_that_one_step_preempts_get_no_blocks_in_it(num_blocks, preemption):
    """A round takes four blocks, and the later requests hold few: one step takes all blocks of two or three of them."""
    engine = Engine(MODEL, block_size=1, num_blocks=num_blocks, preemption=preemption, drafter=MODEL, k=3)
    prompts = [[1, 2, 3, 4], [5], [6], [7]]
    requests, most, before = [engine.submit(prompts[0], 9, ON)], 0, 0
    engine.step()
    requests += [engine.submit(prompt, 9, ON) for prompt in prompts[1:]]
    while engine.has_work:
        engine.step()
        running, preemptions = engine.scheduler.running, engine.statistics.preemptions
        most, before = max(most, preemptions - before), preemptions
        for request in requests:
            assert (request.status == "running") == (request in running)
            assert request in running or not request.cache.table
        assert running == sorted(running, key=requests.index)
    assert most > 1
    for request, prompt in zip(requests, prompts, strict=True):
        assert request.tokens == minillm.naive_decode(MODEL, prompt, 9)
