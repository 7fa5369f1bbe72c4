"""Known mistakes, made in the real code on purpose: each must be caught by one of the two proofs.

The source of a module is changed in one place and built again, with the modules that import it. Most of these mistakes
are or were in well-known code (see the comments). All of them give text that looks fine.
"""

import dataclasses
import importlib.util
import sys
from contextlib import contextmanager

import numpy as np
from bigrams import bigram_model
from lossless import assert_greedy_is_naive, assert_lossless
from random_models import random_model
from test_checks import CONFIG

import minillm
from minillm import Sampling
from minillm.speculative import draft_length, drafters, speculator
from minillm.speculative import generation as speculative_generation
from minillm.speculative import rounds as speculative

MODULES = [
    drafters,
    draft_length,
    speculative,
    speculator,
    speculative_generation,
]  # in the order in which they import each other
MUTANTS = {
    "the whole sequence is fed again to a filled cache": (
        speculative_generation,
        "tokens = [*completion.sequence[cache.length :], *draft_tokens]",
        "tokens = [*completion.sequence, *draft_tokens]",
    ),
    "a new generator for every acceptance": (
        speculative,
        "draft.probs_of(index, len(p)), completion.generator)",
        "draft.probs_of(index, len(p)), completion.sampling.generator())",
    ),
    "draft tokens at another temperature": (  # lossless still, but fewer are accepted
        drafters,
        "probabilities(self.model.ops.to_host(logits), sampling, extended)",
        "probabilities(self.model.ops.to_host(logits), replace(sampling, temperature=1.0), extended)",
    ),
    "p without the filters": (
        speculative,
        "p = probabilities(logits[index], completion.sampling, completion.sequence)",
        "p = probabilities(logits[index], Sampling(completion.sampling.temperature), completion.sequence)",
    ),
    "q without the filters": (
        drafters,
        "            tokens.append(sample_from(probs[-1], generator))",
        "            tokens.append(sample_from(probs[-1], generator))\n"
        "            only_warm = Sampling(sampling.temperature)\n"
        "            probs[-1] = probabilities(self.model.ops.to_host(logits), only_warm, extended)",
    ),
    "q of the first draft token at every index": (drafters, "certain[self.tokens[index]]", "certain[self.tokens[0]]"),
    "rejected draft tokens stay in the target's cache": (
        speculative_generation,
        "cache.truncate(len(completion.sequence) - 1)",
        "cache.truncate(min(cache.length, len(completion.sequence) + len(draft_tokens) - 1))",
    ),
    "rejected draft tokens stay in the draft's cache": (
        drafters,
        "self.cache.truncate(min(length, self.cache.length))",
        "pass",
    ),
    "the residual is not normalised": (speculative, "return more / more.sum() if", "return more if"),
    "the correction is drawn from p": (
        speculative,
        "sample_from(residual(p, q), generator)",
        "sample_from(p, generator)",
    ),
    "the bonus is left out": (
        speculative,
        "return [*steps, completion.add(logits[-1]",
        "return steps or [completion.add(logits[-1]",
    ),
    "the bonus is drawn from the draft": (
        speculative,
        "    return [*steps, completion.add(logits[-1]",
        "    if draft.tokens:\n"
        "        bonus = sample_from(draft.probs_of(-1, logits.shape[1]), completion.generator)\n"
        "        return [*steps, completion.append(bonus, logits[-1], BONUS)]\n"
        "    return [*steps, completion.add(logits[-1]",
    ),
    "acceptance with q / p": (
        speculative,
        "number * q[token] < p[token]",
        "number * p[token] < q[token]",
    ),
    "the draft's cache is one token behind after full acceptance": (
        drafters,
        "extended[self.cache.length :], self.cache",
        "extended[-1:] if self.cache.length else extended, self.cache",
    ),
    "the penalty sees the same tokens at every index": (
        speculative,
        "completion.sampling, completion.sequence)\n        token =",
        "completion.sampling, completion.sequence[: len(completion.sequence) - index])\n        token =",
    ),
    "a finished answer goes on": (
        speculative,
        "if token != draft_token or completion.finish_reason:",
        "if token != draft_token:",
    ),
    "one draft token too many at the end": (
        speculative,
        "min(self.draft_length.choose(), left - 1)",
        "min(self.draft_length.choose(), left)",
    ),
}


@contextmanager
def mutated(module, old, new):
    """Yield `speculative_generation` as it is when `old` is replaced by `new` in the source of `module`."""
    originals = {each.__name__: each for each in MODULES}
    try:
        for each in MODULES:  # `from minillm.x import y` looks here first
            sys.modules[each.__name__] = _build(each, old if each is module else "", new)
        yield sys.modules[speculative_generation.__name__]
    finally:
        sys.modules.update(originals)


def _build(module, old, new):
    spec = importlib.util.spec_from_file_location(module.__name__, module.__file__)
    source = spec.loader.get_source(module.__name__)
    assert not old or source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {module.__file__}"
    built = importlib.util.module_from_spec(spec)
    built.__dict__["Sampling"] = Sampling  # for mutants that need it
    sys.modules[module.__name__] = built
    exec(compile(source.replace(old, new) if old else source, module.__file__, "exec"), built.__dict__)
    return built


TARGET = bigram_model(np.array([[0.9, 1.0, 0.3], [0.7, 0.0, 1.5], [0.2, 0.4, 0.0]]))
DRAFT = bigram_model(np.array([[0.5, 0.0, 1.0], [0.0, 0.3, 0.0], [1.0, 0.0, 0.9]]))
FILTERED = Sampling(temperature=0.7, top_k=2, repetition_penalty=1.5, seed=0, ignore_eos=True)
WARM = Sampling(temperature=0.7, seed=0, ignore_eos=True)
EXACT = random_model(CONFIG, 0, "exact")[0]
OTHER = random_model(CONFIG, 1, "exact")[0]
THIRD = minillm.naive_decode(EXACT, [1, 2], 3)[2]
ENDING = dataclasses.replace(EXACT, config=dataclasses.replace(CONFIG, eos_token_ids=(THIRD,)))  # inside a round


def prove(module):
    """Small cases of both proofs; raises if one fails."""
    greedy, lookup = Sampling(ignore_eos=True, seed=0), sys.modules[drafters.__name__].PromptLookup()
    for draft in (EXACT, OTHER):
        out = assert_greedy_is_naive(EXACT, draft, [1, 2], 9, greedy, 3, module).output
        if draft is EXACT:  # a round gives k + 1 tokens
            assert (out.rounds, out.proposed, out.accepted) == (2, 6, 6)
    assert_greedy_is_naive(EXACT, EXACT, [1, 2], 4, greedy, 3, module)
    assert_greedy_is_naive(ENDING, ENDING, [1, 2], 9, Sampling(), 3, module)
    out = module.speculative_generate(TARGET, TARGET, [1], 100, WARM, 3)
    assert out.accepted == out.proposed > 0  # p and q are the same
    assert_lossless(TARGET, DRAFT, [1, 2, 1], 3, WARM, 2, module)
    assert_lossless(TARGET, DRAFT, [1, 2, 1], 4, FILTERED, 2, module)
    assert_lossless(TARGET, lookup, [1, 2, 1], 4, WARM, 2, module)
