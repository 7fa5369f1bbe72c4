"""Prefill: run the prompt through the model and leave its keys and values in the cache.

All prompt tokens go in together: one read of the weights serves them all, so prefill is limited by arithmetic where
decode is limited by memory. *Chunked* prefill does the same in several passes, which bounds the memory for scores
and lets other requests decode in between (Agrawal et al., Sarathi, 2308.16369).
"""

from minillm.arrays import Array, Float, Tokens
from minillm.batch_checks import check_room, check_tokens
from minillm.kv_cache.cache import Cache
from minillm.model import Model
from minillm.support.checks import check_integer
from minillm.transformer import forward_batch


def prefill(model: Model, tokens: Tokens, cache: Cache, chunk: int | None = None) -> Float[Array, "vocab"]:
    """Append the prompt to the cache.

    Args:
        model: the model.
        tokens: the prompt, or the part of it that the cache does not hold yet.
        cache: empty, or holding a prefix.
        chunk: the most tokens in one pass; None for all at once. The result is the same.

    Returns:
        the logits after the last token: what the first new token is chosen from.

    Raises:
        ValueError: wrong tokens, or a cache without room; the cache is as it was.
    """
    tokens = check_tokens(model, tokens)
    check_room(model, cache, len(tokens))
    chunk = len(tokens) if chunk is None else check_integer("chunk", chunk, 1)
    last_chunk = (len(tokens) - 1) // chunk * chunk  # where the last chunk begins
    for first in range(0, last_chunk, chunk):
        forward_batch(model, [(tokens[first : first + chunk], cache)], logit_rows=[0])
    return forward_batch(model, [(tokens[last_chunk:], cache)])[0]
