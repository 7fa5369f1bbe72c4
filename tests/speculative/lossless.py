"""What sampling from the model alone gives, and what speculative decoding gives, as exact distributions of answers."""

import dataclasses

import numpy as np
from every_path import assert_same_distribution, distribution
from same_logprobs import assert_same_logprobs

import minillm
from minillm.sampling import probabilities
from minillm.speculative import generation as speculative_generation


def plain_distribution(model, prompt, new_tokens, sampling):
    """The probability of every answer: the product of its tokens', each from the naive forward pass."""
    growing, ended = {(): 1.0}, {}
    for _ in range(new_tokens):
        longer = {}
        for answer, probability in growing.items():
            text = [*prompt, *answer]
            p = probabilities(model.ops.to_host(minillm.forward(model, text)[-1]), sampling, text)
            for token in np.flatnonzero(p):
                ends = not sampling.ignore_eos and token in model.config.eos_token_ids
                (ended if ends else longer)[*answer, int(token)] = probability * p[token]
        growing = longer
    return ended | growing


def speculative_distribution(model, drafter, prompt, new_tokens, sampling, k, module=speculative_generation):
    """The same from the real code; `module` may be a mutant of it."""

    def outcome(path):
        generation = module.SpeculativeGeneration(model, drafter, prompt, new_tokens, sampling, k)
        generation.completion.generator = path
        return tuple(step.token for step in generation)

    return distribution(outcome)


def assert_lossless(model, drafter, prompt, new_tokens, sampling, k, module=speculative_generation):
    found = speculative_distribution(model, drafter, prompt, new_tokens, sampling, k, module)
    assert_same_distribution(found, plain_distribution(model, prompt, new_tokens, sampling))


def assert_greedy_is_naive(model, drafter, prompt, new_tokens, sampling, k, module=speculative_generation):
    """Tokens, text, log-probabilities and the reason of the end are those of decoding without a cache.

    Log-probabilities to the bit on the exact backend.
    """
    generation = module.SpeculativeGeneration(model, drafter, prompt, new_tokens, sampling, k)
    steps = list(generation)
    out, naive = generation.output, minillm.generate(model, prompt, new_tokens, sampling, use_cache=False)
    shared = {field.name for field in dataclasses.fields(naive)} - {"timings", "kv_cache_bytes", "logprobs"}
    assert {name: getattr(out, name) for name in shared} == {name: getattr(naive, name) for name in shared}
    assert_same_logprobs(model, out.logprobs, naive.logprobs)
    assert [step.token for step in steps] == naive.tokens
    assert out.accepted == sum(step.origin == "accepted" for step in steps) <= out.proposed
    return generation
