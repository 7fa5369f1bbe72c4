"""What a request leaves in the blocks of the prefix cache is right: the next turn, which begins with it, shows it.

A turn is a prompt and its answer. The next prompt is both and a little more, so it finds every block that the turn
published. It has to give what it gives without any cache, however the turn ended: by an end of sequence in the middle
of a round of speculation, by a stop text, by its length, exactly at the end of a block, under a sliding window.
"""

import dataclasses
from itertools import product

import numpy as np
import pytest
from random_models import random_model
from same_logprobs import assert_same_logprobs
from test_checks import CONFIG
from test_generation import TEXT_MODEL

import minillm
from minillm import Engine, PromptLookup, Sampling

ENDS = (0, 2, 3, 5, 7, 11)  # many, so that corrections are often ends
ARCHITECTURE = dataclasses.replace(CONFIG, eos_token_ids=ENDS, max_position_embeddings=64)
WINDOWED = dataclasses.replace(ARCHITECTURE, sliding_windows=(3, None))
MODELS = {name: random_model(config, 1)[0] for name, config in (("full", ARCHITECTURE), ("window", WINDOWED))}
OTHER, _ = random_model(ARCHITECTURE, 2)
ON = Sampling(ignore_eos=True)


def next_turn(engine, first, more):
    """The request that begins with `first`, and what it has to give."""
    prompt = [*first.completion.sequence, *more]
    request = engine.submit(prompt, 5, ON)
    engine.run()
    return request.tokens, minillm.generate(engine.model, prompt, 5, ON, use_cache=False).tokens


@pytest.mark.parametrize("windows", MODELS)
@pytest.mark.parametrize("k", [1, 2, 4])
def test_rejected_draft_tokens_behind_an_end_are_not_published(k, windows):
    model, corrected = MODELS[windows], 0
    for seed, drafter in product(range(6), (OTHER, PromptLookup())):
        engine = Engine(model, block_size=1, drafter=drafter, k=k)
        first = engine.submit([1, 4, 1, 4 + seed], 12, Sampling(1.5, seed=seed))
        steps = [event.step for event in engine.events()]
        corrected += steps[-1].finish_reason == "eos" and steps[-1].origin == "corrected"
        found, expected = next_turn(engine, first, [1, 6])
        assert found == expected
        assert engine.statistics.prefix_tokens == len(first.completion.sequence) - 1  # the last token was never fed
    assert corrected


@pytest.mark.parametrize("windows", MODELS)
@pytest.mark.parametrize("length", [4, 8, 12])
def test_prompts_of_exactly_entire_blocks(length, windows):
    """Once new, once known to its last token, and once as the beginning of more."""
    model, prompt = MODELS[windows], [(3 * i * i + i) % 13 for i in range(length)]
    for drafter in (None, model):
        engine = Engine(model, block_size=4, drafter=drafter, k="auto" if drafter is None else 2)
        expected = minillm.generate(model, prompt, 4, ON, use_cache=False).tokens
        for _ in range(2):
            again = engine.submit(prompt, 4, ON)
            engine.run()
            assert again.tokens == expected
        assert engine.statistics.prefix_tokens == length - 4
        found, expected = next_turn(engine, again, [])
        assert found == expected


@pytest.mark.parametrize("drafter", [None, "itself", "lookup"])
def test_after_a_stop_text(drafter):
    """A stop text ends an answer in the middle of a round, too, and its tokens are part of the sequence."""
    model = dataclasses.replace(TEXT_MODEL, config=dataclasses.replace(TEXT_MODEL.config, max_position_embeddings=64))
    alone = minillm.generate(model, "ab", 20, Sampling(1.0, seed=1, ignore_eos=True))
    for count in range(2, 8):
        stop = model.tokenizer.decode(alone.tokens[count - 2 : count])
        if not stop.strip() or "\ufffd" in stop:
            continue
        engine = Engine(model, block_size=2, k=3, drafter={"itself": model, "lookup": PromptLookup()}.get(drafter))
        first = engine.submit("ab", 20, Sampling(1.0, seed=1, ignore_eos=True, stop=stop))
        engine.run()
        found, expected = next_turn(engine, first, [3])
        assert found == expected


def test_random_chains_of_turns():
    """Turns of random lengths, ends and samplings: every one is what it is without a cache, with a logprob a token."""
    rng, reasons = np.random.default_rng(0), set()
    for chain in range(5):
        model = MODELS[("full", "window")[chain % 2]]
        drafter = (None, OTHER, model, PromptLookup())[chain // 2 % 4]
        k = "auto" if drafter is None else int(rng.integers(1, 5))
        engine = Engine(model, block_size=int(rng.integers(1, 6)), drafter=drafter, k=k)
        sequence = rng.integers(0, 13, 3).tolist()
        while len(sequence) < 40:
            sampling = Sampling(ignore_eos=bool(rng.integers(0, 2)), repetition_penalty=1.3, logprobs=1)
            request = engine.submit(sequence, int(rng.integers(1, 9)), sampling)
            engine.run()
            expected = minillm.generate(model, sequence, request.completion.max_new_tokens, sampling, use_cache=False)
            assert (request.tokens, request.finish_reason) == (expected.tokens, expected.finish_reason)
            assert [each.token for each in request.logprobs] == request.tokens
            assert_same_logprobs(model, request.logprobs, expected.logprobs)
            reasons.add(request.finish_reason)
            sequence = [*request.completion.sequence, *rng.integers(0, 13, int(rng.integers(1, 4))).tolist()]
    assert reasons == {"eos", "length"}
