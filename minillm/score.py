"""score: how probable a given text is to a model. One prefill computes all of it; nothing is sampled.

The log-probability of a text is the sum over its tokens of log p(token | tokens before). Perplexity is
exp(-sum / tokens): as if the model chose among that many equally probable tokens at every step (Jelinek et al.,
Perplexity, 1977). The first token is not scored, because no token is before it.
"""

import math
from dataclasses import dataclass

import numpy as np

from minillm.arrays import Array, Float
from minillm.generation import Prompt, encode_prompt
from minillm.kv_cache.contiguous import KVCache
from minillm.model import Model, check_model
from minillm.prefill import PREFILL_CHUNK
from minillm.sampling import log_probabilities
from minillm.transformer import forward_batch


@dataclass(frozen=True)
class Score:
    """How probable a text is to a model.

    Attributes:
        logprob: natural logarithm of the probability of all scored tokens: the sum of `token_logprobs`.
        perplexity: exp of the negative mean of `token_logprobs`; at least 1, lower is more probable.
        tokens: the scored token ids: all but the first.
        token_logprobs: the log-probability of each scored token.

    Example:
        >>> found = minillm.score(minillm.load("story"), "The capital of France is Paris")
        >>> round(found.perplexity, 2), len(found.token_logprobs)
        (2.86, 6)
    """

    logprob: float
    perplexity: float
    tokens: list[int]
    token_logprobs: list[float]


def score(model: Model, text: Prompt, cache_dtype: str | None = None) -> Score:
    """Score a text, without changing it.

    Args:
        model: the model.
        text: text, token ids or chat messages, as the prompt of `generate`: at least two tokens.
        cache_dtype: "int8" to score with keys and values in 8 bits, as `KVCache` stores them.

    Raises:
        ValueError: a wrong argument, fewer than two tokens, or more than the model's context.

    Example:
        >>> model = minillm.load("story")
        >>> good, bad = (minillm.score(model, f"The capital of France is {city}") for city in ("Paris", "Tokyo"))
        >>> good.logprob > bad.logprob, len(good.tokens)
        (True, 6)
    """
    check_model(model)
    ids = encode_prompt(model, text)
    if len(ids) < 2:
        raise ValueError("text has 1 token; expected at least 2, because the first token is not scored")
    inputs, targets = ids[:-1], ids[1:]
    cache, logprobs = KVCache(model, len(inputs), cache_dtype), list[float]()
    for first in range(0, len(inputs), PREFILL_CHUNK):
        chunk = inputs[first : first + PREFILL_CHUNK]
        logits = model.ops.to_host(forward_batch(model, [(chunk, cache)], [len(chunk)]))  # [chunk, vocab]
        logprobs += _logprobs_of(logits, targets[first : first + len(chunk)])
    logprob = math.fsum(logprobs)
    with np.errstate(over="ignore"):  # a text that is all but impossible has infinite perplexity
        perplexity = float(np.exp(-logprob / len(targets)))
    return Score(logprob, perplexity, targets, logprobs)


def _logprobs_of(logits: Float[Array, "tokens vocab"], targets: list[int]) -> list[float]:
    return [float(log_probabilities(np.asarray(row))[target]) for row, target in zip(logits, targets, strict=True)]
