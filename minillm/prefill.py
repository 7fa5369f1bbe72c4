"""Prefill: run the prompt through the model, and leave its keys and values in the cache.

All prompt tokens go in together, so one read of the weights serves them all. That is why prefill is limited by
arithmetic, and decode by memory bandwidth. *Chunked* prefill makes several passes. They bound the memory for attention
scores, and let other requests decode in between (Agrawal et al., Sarathi, 2308.16369).
"""

from minillm.arrays import Array, Float, Tokens
from minillm.batch_checks import check_room, check_tokens
from minillm.kv_cache.cache import Cache
from minillm.model import Model
from minillm.support.checks import check_integer
from minillm.transformer import forward_batch

PREFILL_CHUNK = 512  # tokens; bounds the memory of attention scores for long prompts, and the result is the same


def prefill(model: Model, tokens: Tokens, cache: Cache, chunk: int | None = None) -> Float[Array, "vocab"]:
    """Append the prompt to the cache, and return the logits after its last token.

    Args:
        model: the model.
        tokens: the prompt, or the part of it after the tokens in the cache.
        cache: empty, or filled with a prefix.
        chunk: the most tokens in one pass; None for all in one. The result is the same.

    Returns:
        the logits after the last token, from which the first new token is sampled.

    Raises:
        ValueError: wrong tokens, or a cache that is too small; the cache is unchanged.

    Example:
        >>> model = minillm.load("story")
        >>> cache = minillm.KVCache(model, capacity=16)
        >>> logits = minillm.prefill(model, model.tokenizer.encode("The capital of France is"), cache)
        >>> cache.length, model.tokenizer.decode([int(logits.argmax())])
        (5, ' P')
    """
    tokens = check_tokens(model, tokens)
    check_room(model, cache, len(tokens))
    chunk = len(tokens) if chunk is None else check_integer("chunk", chunk, 1)
    last_start = (len(tokens) - 1) // chunk * chunk  # where the last chunk begins
    for first in range(0, last_start, chunk):
        forward_batch(model, [(tokens[first : first + chunk], cache)], logit_rows=[0])
    return forward_batch(model, [(tokens[last_start:], cache)])[0]
