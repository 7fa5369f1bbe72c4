"""Chunked prefill: a long prompt in several passes.

Where the engine does it: `prefill` in minillm/prefill.py. The prompt goes in a chunk at a time, each behind what the
cache holds already; the logits after the last token are the same as in one pass, and other requests can decode in
between (Agrawal et al., 2308.16369).
"""

# %% learner
from collections.abc import Callable
from typing import Any

import numpy as np


def chunked_prefill(
    forward: Callable[[list[int], Any], np.ndarray], tokens: list[int], cache: Any, chunk: int
) -> np.ndarray:
    """Run the prompt through the model, at most `chunk` tokens in a pass.

    forward: the model: (new tokens, cache) -> logits [vocab] after the last of them; it appends them to the cache.
    tokens: the prompt, at least one id.
    cache: holds nothing yet, or a prefix; pass it on as it is.
    chunk: the most tokens in one pass; every pass but the last has so many.
    returns: [vocab]: the logits after the last token of the prompt.
    """
    # %% solution
    for first in range(0, len(tokens), chunk):
        logits = forward(tokens[first : first + chunk], cache)
    return logits


# %% hints
HINTS = (
    "The cache remembers what has been run: every pass gets only tokens that were not run before.",
    "tokens is a list of any length; its pieces are tokens[first : first + chunk], and the last may be shorter.",
    "1. for first = 0, chunk, 2 chunk, ...; 2. run that piece with the same cache; 3. keep the last pass's logits.",
    "for first in range(0, len(tokens), chunk):",
)


# %% harness
def call(function, table, tokens, chunk):
    """A model whose logits depend on every cached token and its place; the sizes of its passes are noted."""
    cache, passes = [], []

    def forward(new, cache):
        passes.append(len(new))
        cache.extend(new)
        return sum((place + 1) * table[token] for place, token in enumerate(cache))

    logits = function(forward, tokens, cache, chunk)
    return {"logits": logits, "cached tokens": cache, "tokens in each pass": passes}


# %% check
LESSON = 4
CONCEPTS = ("prefill", "kv_cache")


def cases(random):
    for length, chunk in ((1, 1), (2, 2), (2, 1), (3, 2), (4, 2), (5, 9), (7, 3), (8, 4), (9, 5)):
        tokens = random.integers(0, 4, length).tolist()
        yield {"table": random.normal(size=(4, 3)), "tokens": tokens, "chunk": chunk}


def cache_holds_the_prompt(inputs, result, run):
    """In the end the cache holds the prompt's tokens, each once, in order."""
    return result["cached tokens"] == inputs["tokens"]


def no_pass_is_too_large(inputs, result, run):
    """No pass has more than `chunk` tokens."""
    return max(result["tokens in each pass"]) <= inputs["chunk"]


PROPERTIES = (cache_holds_the_prompt, no_pass_is_too_large)
