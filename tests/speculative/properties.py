"""The two promises, over random models, drafts and requests: sampled text is lossless, greedy text is the naive path's.

For the first, every path of the real code is summed up (`every_path.py`): no sampling noise, equal to 1e-12.
Vocabularies are tiny, everything else is real: caches, drafters, filters, several rounds, ends inside a round. Bigram
models have any p and q, zeros included; small transformers must have the right caches, too. For the second, models
and drafts are larger, and everything is equal to the bit on the exact backend.

`python properties.py BACKEND NAME...` runs some; outside pytest, since the shape checker would take most of the time.
"""

import dataclasses
import json
import sys

import numpy as np
from bigrams import bigram_model, with_letters
from hypothesis import given, settings
from hypothesis import strategies as st
from lossless import assert_greedy_is_naive, assert_lossless
from random_models import architectures, make_ops, random_checkpoint, random_model, token_lists
from tensors import ArrayTensor

import minillm
from minillm import Sampling
from minillm.estimate.speculation import acceptance_rate, tokens_per_round
from minillm.loading.build import build
from minillm.sampling import probabilities
from minillm.speculative import speculator
from minillm.speculative.generation import SpeculativeGeneration

settings.register_profile("unchecked", deadline=None, database=None)
settings.load_profile("unchecked")
BACKEND = "exact"
LOGITS = st.sampled_from([-800.0, -3.0, -1.0, 0.0, 0.0, 0.5, 1.0, 2.0])  # ties, and numbers whose exponential is 0


def logits(vocab_size):
    row = st.lists(LOGITS, min_size=vocab_size, max_size=vocab_size)
    return st.lists(row, min_size=vocab_size, max_size=vocab_size)


def fast():
    """Where every path is taken and summed up, or which differs in backend from its target: not the exact one."""
    return "numpy" if BACKEND == "exact" else BACKEND


samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.6, 1.0, 1.0, 1.8]),
    top_k=st.none() | st.integers(1, 3),
    top_p=st.sampled_from([1.0, 1.0, 0.9, 0.5]),
    min_p=st.sampled_from([0.0, 0.0, 0.3]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 1.7, 0.6]),
    ignore_eos=st.booleans(),
)


@settings(max_examples=40)
@given(data=st.data(), vocab_size=st.integers(2, 3), sampling=samplings, k=st.integers(1, 3) | st.just("auto"))
def bigrams_are_lossless(data, vocab_size, sampling, k):
    model = bigram_model(data.draw(logits(vocab_size)))
    draft = st.builds(bigram_model, logits(vocab_size)) | st.builds(minillm.PromptLookup)
    prompt = data.draw(st.lists(st.integers(1, vocab_size - 1), min_size=1, max_size=4))
    most = {2: 5, 3: 4}[vocab_size]  # two of them are not draft tokens
    assert_lossless(model, data.draw(draft), prompt, data.draw(st.integers(1, most)), sampling, k)


def rounds_of_every_length_are_lossless():
    """Rounds of k draft tokens, of a draft model that is sometimes right and of lookup, whose draft tokens differ."""
    rows = [[0.9, 1.0], [0.7, 0.0]], [[0.5, 0.0], [0.0, 0.3]]
    (model, draft), sampling = map(bigram_model, rows), Sampling(temperature=0.7, ignore_eos=True)
    for k in (1, 2, 3):
        assert_lossless(model, draft, [1, 0, 1], k + 2, sampling, k)
        assert_lossless(model, minillm.PromptLookup(), [1, 0, 1], k + 2, sampling, k)


@settings(max_examples=25)
@given(data=st.data(), sampling=samplings, k=st.integers(1, 3) | st.just("auto"))
def padded_vocabularies_are_lossless(data, sampling, k):
    """The tokens a and b, in 2 to 4 rows of the model and 2 to 4 of the draft: either may draw ids the other lacks."""
    sizes = data.draw(st.sampled_from([(2, 3), (3, 2), (4, 2), (2, 4), (3, 4)]))
    model, draft = (with_letters(bigram_model(data.draw(logits(size)))) for size in sizes)
    prompt = data.draw(st.lists(st.integers(1, sizes[0] - 1), min_size=1, max_size=3))
    assert_lossless(model, draft, prompt, data.draw(st.integers(1, 3)), sampling, k)


@settings(max_examples=15)
@given(data=st.data(), config=architectures(), seed=st.integers(0, 99), k=st.integers(1, 4))
def greedy_text_with_padded_vocabularies_is_naive(data, config, seed, k):
    """In a generation, a stream and an engine."""
    sizes = data.draw(st.sampled_from([(8, 6), (6, 8)]))
    configs = [dataclasses.replace(config, vocab_size=size) for size in sizes]
    model, draft = (with_letters(random_model(each, seed, BACKEND)[0]) for each in configs)
    sampling = Sampling(ignore_eos=True, repetition_penalty=data.draw(st.sampled_from([1.0, 1.3])))
    prompt = data.draw(token_lists(sizes[0], 6))
    naive = assert_greedy_is_naive(model, draft, prompt, 9, sampling, k).output
    assert "".join(minillm.stream(model, prompt, 9, sampling, drafter=draft, k=k)) == naive.text
    engine = minillm.Engine(model, block_size=4, drafter=draft, k=k)
    request = engine.submit(prompt, 9, sampling)
    engine.run()
    assert (request.tokens, request.text) == (naive.tokens, naive.text)


@settings(max_examples=15)
@given(data=st.data(), config=architectures(), sampling=samplings, k=st.integers(1, 3))
def transformers_are_lossless(data, config, sampling, k):
    config = dataclasses.replace(config, vocab_size=3)
    model, _ = random_model(config, data.draw(st.integers(0, 99)), fast())
    other, _ = random_model(dataclasses.replace(config, num_hidden_layers=1, sliding_windows=(2,)), 100, fast())
    draft = data.draw(st.sampled_from([model, other, minillm.skip_layers(model, [0]), minillm.PromptLookup()]))
    assert_lossless(model, draft, [1, 2, 1], 4, sampling, k)


@settings(max_examples=25)
@given(config=architectures(), seed=st.integers(0, 99), sampling=samplings, k=st.integers(1, 5))
def a_model_accepts_its_own_draft(config, seed, sampling, k):
    """All of them, since p and q are the same: penalty, temperature and filters see the same tokens at each index."""
    model, _ = random_model(config, seed, BACKEND)
    sampling = dataclasses.replace(sampling, seed=seed, ignore_eos=True)
    out = minillm.speculative_generate(model, model, [1, 2, 1], 12, sampling, k)
    assert out.accepted == out.proposed > 0


def near_copy(config, seed, noise):
    """The model that this seed gives, with other weights nearby: a draft that is often right."""
    checkpoint, generator = random_checkpoint(config, seed), np.random.default_rng(seed + 1)
    tensors = {
        name: ArrayTensor(tensor.values + noise * generator.normal(size=tensor.shape))
        for name, tensor in checkpoint.tensors.items()
    }
    ops = make_ops(BACKEND)
    return build(dataclasses.replace(checkpoint, tensors=tensors), ops, ops.choose_dtype("float64"))


@st.composite
def drafters(draw, model, seed):
    """Drafts that are always, often, sometimes and hardly ever right."""
    kind = draw(st.sampled_from(["itself", "near", "near", "layers", "other", "lookup"]))
    if kind == "near":
        return near_copy(model.config, seed, draw(st.sampled_from([0.02, 0.1])))
    if kind == "other":
        config = dataclasses.replace(draw(architectures()), vocab_size=model.config.vocab_size)
        short = draw(st.sampled_from([8, 160]))  # a draft whose context ends before the text does
        return random_model(dataclasses.replace(config, max_position_embeddings=short), seed, fast())[0]
    return {"itself": model, "layers": minillm.skip_layers(model), "lookup": minillm.PromptLookup()}[kind]


@settings(max_examples=40)
@given(data=st.data(), config=architectures(), seed=st.integers(0, 2**32), k=st.integers(1, 6) | st.just("auto"))
def greedy_text_is_naive(data, config, seed, k):
    """With end-of-sequence tokens and maximum lengths inside a round; the penalty changes the choice at each index."""
    config = dataclasses.replace(config, eos_token_ids=tuple(data.draw(st.sets(st.integers(0, 10), max_size=3))))
    model, _ = random_model(config, seed, BACKEND)
    sampling = Sampling(repetition_penalty=data.draw(st.sampled_from([1.0, 1.0, 1.3, 0.8])), logprobs=2)
    prompt = data.draw(token_lists(config.vocab_size, 8))
    draft = data.draw(drafters(model, seed))
    assert_greedy_is_naive(model, draft, prompt, data.draw(st.integers(1, 14)), sampling, k)


def measured_rounds_are_as_the_theory_says():
    """Many rounds with real random numbers; within four standard errors. Tokens are independent, and so are rounds."""
    k, rounds, sampling = 3, 1000, Sampling(temperature=0.9, top_p=0.95, ignore_eos=True, seed=4)
    rows = np.array([0.3, 1.2, -0.5, 0.1]), np.array([0.9, 0.6, 0.2, -1.0])
    model, draft = (bigram_model(np.tile(row, (4, 1)), max_position_embeddings=50_000) for row in rows)
    acceptance = acceptance_rate(*(probabilities(row, sampling) for row in rows))
    generation = SpeculativeGeneration(model, draft, [0], 40_000, sampling, k)
    generation.completion.append(0, rows[0])  # the first token, as if the prompt's pass had given it
    accepted = [sum(step.origin == "accepted" for step in generation._next_steps()) for _ in range(rounds)]
    judged = sum(min(n + 1, k) for n in accepted)  # draft tokens after a rejected one are not judged
    error = np.sqrt(acceptance * (1 - acceptance) / judged)
    assert abs(sum(accepted) / judged - acceptance) < 4 * error
    tokens = np.array(accepted) + 1
    assert abs(tokens.mean() - tokens_per_round(acceptance, k)) < 4 * tokens.std() / np.sqrt(rounds)
    counts, failed = generation.speculation.counts, sum(n < k for n in accepted)
    assert (counts.rounds, counts.proposed, counts.accepted) == (rounds, k * rounds, sum(accepted))
    assert (counts.rejected, counts.lengths) == (failed, {k: rounds})


PROPERTIES = [
    bigrams_are_lossless,
    rounds_of_every_length_are_lossless,
    padded_vocabularies_are_lossless,
    greedy_text_with_padded_vocabularies_is_naive,
    transformers_are_lossless,
    a_model_accepts_its_own_draft,
    greedy_text_is_naive,
    measured_rounds_are_as_the_theory_says,
]
WITH_LAYERS = [transformers_are_lossless, a_model_accepts_its_own_draft, greedy_text_is_naive]

if __name__ == "__main__":
    BACKEND, *NAMES = sys.argv[1:]
    speculator.draft_step_cost = lambda draft, target: 0.05  # else no draft pays, and "auto" never drafts
    for name in NAMES:
        globals()[name]()
    print(json.dumps(NAMES))
