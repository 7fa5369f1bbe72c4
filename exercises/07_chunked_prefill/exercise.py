"""Chunked prefill: a long prompt in several passes.

Where the engine does it: `prefill` in minillm/prefill.py. The prompt runs one chunk at a time, each after the tokens
that are already cached. The logits after the last token are the same as in one pass. Between two chunks other requests
can decode (Agrawal et al., 2308.16369).
"""

# %% learner
from collections.abc import Callable
from typing import Any

import numpy as np


def chunked_prefill(
    forward: Callable[[list[int], Any], np.ndarray], tokens: list[int], cache: Any, chunk: int
) -> np.ndarray:
    """Run the prompt through the model, at most `chunk` tokens in a pass.

    forward: the model: (new tokens, cache) -> logits [vocab] after the last new token. It appends them to the cache.
    tokens: the prompt, at least one id.
    cache: empty, or with the tokens of a prefix. Pass it to `forward` unchanged.
    chunk: the maximum number of tokens in a pass. Every pass but the last has exactly `chunk` tokens.
    returns: [vocab]: the logits after the last token of the prompt.
    """
    # %% solution
    for first in range(0, len(tokens), chunk):
        logits = forward(tokens[first : first + chunk], cache)
    return logits


# %% hints
HINTS = (
    "The cache keeps the tokens of earlier passes. So every pass gets only tokens that were not run before.",
    "tokens is a list of any length. Its chunks are tokens[first : first + chunk]. The last chunk may be shorter.",
    "1. Loop over first = 0, chunk, 2 chunk, ... 2. Run the chunk from `first` with the same cache. 3. Return the "
    "logits of the last pass.",
    "for first in range(0, len(tokens), chunk):",
)


# %% harness
def call(function, table, tokens, chunk):
    """Call it with a model whose logits depend on every cached token and its position; record the sizes of passes."""
    cache, passes = [], []

    def forward(new, cache):
        passes.append(len(new))
        cache.extend(new)
        return sum((position + 1) * table[token] for position, token in enumerate(cache))

    logits = function(forward, tokens, cache, chunk)
    return {"logits": logits, "cached tokens": cache, "tokens in each pass": passes}


# %% check
LESSON = 5
CONCEPTS = ("prefill", "kv_cache")


def cases(random):
    for length, chunk in ((1, 1), (2, 2), (2, 1), (3, 2), (4, 2), (5, 9), (7, 3), (8, 4), (9, 5)):
        tokens = random.integers(0, 4, length).tolist()
        yield {"table": random.normal(size=(4, 3)), "tokens": tokens, "chunk": chunk}


def cache_holds_the_prompt(inputs, result, run):
    """At the end the cache has the tokens of the prompt, each once, in order."""
    return result["cached tokens"] == inputs["tokens"]


def no_pass_is_too_large(inputs, result, run):
    """No pass has more than `chunk` tokens."""
    return max(result["tokens in each pass"]) <= inputs["chunk"]


PROPERTIES = (cache_holds_the_prompt, no_pass_is_too_large)


def plug(function):
    """Each pass of the engine gets one chunk from the function, and its cache."""
    from minillm.transformer import forward_batch

    def prefill(model, tokens, cache, chunk=None):
        def forward(new, cache):
            return forward_batch(model, [(new, cache)])[0]

        return function(forward, [int(token) for token in tokens], cache, chunk or len(tokens))

    return {"minillm.prefill.prefill": prefill}
