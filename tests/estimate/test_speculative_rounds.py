"""The work of real speculative rounds, counted at the seam in target and draft, is what the formulas say."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import models, random_model, token_lists
from test_measured_equals_predicted import asked

import minillm
from minillm.estimate.work import Work, draft_work, prefill_work, verify_work
from minillm.speculative.generation import SpeculativeGeneration
from minillm.speculative.rounds import ACCEPTED
from minillm.trace.counting import counted

pytestmark = pytest.mark.slow
DRAFTS = ("itself", "without layers", "another")  # accepts everything, some, nearly nothing


def draft_for(target, kind, seed):
    if kind == "itself":
        return target
    if kind == "without layers":
        return minillm.skip_layers(target, [0])
    config = dataclasses.replace(target.config, num_hidden_layers=1, sliding_windows=(None,))
    return random_model(config, seed)[0]


def rounds_of(steps):
    """How many draft tokens were accepted in each round, from where the tokens came."""
    accepted = 0
    for step in steps:
        accepted += step.origin == ACCEPTED
        if step.origin != ACCEPTED or step.finish_reason:
            yield accepted
            accepted = 0


def predicted(target, draft, prompt, new_tokens, k, rounds):
    """The prompt's pass; then for each round its draft and its verification, at the context that it met."""
    size, draft_size = target.dtype.itemsize, draft.dtype.itemsize
    work, drafted = prefill_work(target.config, prompt, size, size), Work(0, 0, 0)
    context, cached = prompt + 1, 0
    for accepted in rounds:
        proposed = min(k, prompt + new_tokens - context - 1)
        work += verify_work(target.config, context, proposed, size, size)
        drafted += draft_work(draft.config, context, cached, proposed, draft_size, draft_size)
        if proposed:
            cached = min(context + accepted, context + proposed - 1)  # the last draft token is never fed
        context += accepted + 1
    return work, drafted


def measured_and_predicted(target, draft, prompt, new_tokens, k, temperature, seed):
    draft, draft_count = counted(draft)
    target, count = counted(target)
    sampling = minillm.Sampling(temperature, seed=seed, ignore_eos=True)
    generation = SpeculativeGeneration(target, draft, prompt, new_tokens, sampling, k)
    rounds = list(rounds_of(list(generation)[1:]))  # the first token is the prompt's
    assert (len(rounds), sum(rounds)) == (generation.output.rounds, generation.output.accepted)
    expected = predicted(target, draft, len(prompt), new_tokens, k, rounds)
    return (asked(count), asked(draft_count)), expected, rounds


@settings(max_examples=20)
@given(data=st.data(), target=models())
def test_any_rounds(data, target):
    """Random configs and drafts, any k; greedy and sampled, so that any number of draft tokens is accepted."""
    draft = draft_for(target, data.draw(st.sampled_from(DRAFTS)), data.draw(st.integers(0, 9)))
    prompt = data.draw(token_lists(target.config.vocab_size, 8))
    new_tokens, k = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 5))
    temperature, seed = data.draw(st.sampled_from([0.0, 1.0])), data.draw(st.integers(0, 99))
    found, expected, _ = measured_and_predicted(target, draft, prompt, new_tokens, k, temperature, seed)
    assert found == expected


@pytest.mark.parametrize(("kind", "all_accepted"), [("itself", True), ("another", False)])
def test_rounds_of_every_kind_are_met(kind, all_accepted):
    """All draft tokens accepted, after which the draft lacks two tokens; and rejections, after which caches are cut."""
    target = minillm.load("story-draft")
    prompt = target.tokenizer.encode("Once upon a time there was a")
    found, expected, rounds = measured_and_predicted(target, draft_for(target, kind, 0), prompt, 24, 3, 0.0, 0)
    assert found == expected
    assert (min(rounds[:-1]) == 3) == all_accepted
