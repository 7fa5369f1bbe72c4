"""Decode: one token in, the logits for the next one out. And the same without a cache, which everything is equal to."""

from minillm.arrays import Array, Float, Tokens
from minillm.batch_checks import check_context, check_tokens
from minillm.kv_cache.cache import Cache
from minillm.model import Model
from minillm.sampling import greedy
from minillm.support.checks import check_integer
from minillm.transformer import forward, forward_batch


def decode_step(model: Model, token: int, cache: Cache) -> Float[Array, "vocab"]:
    """Append one token to the cache and return the logits after it.

    Every weight is read from memory for this one row, so a step takes about (bytes of weights) / (memory bandwidth).

    Raises:
        ValueError: the token is not in the vocabulary, or the cache is full; the cache is as it was.
    """
    return forward_batch(model, [([token], cache)])[0]


def naive_decode(model: Model, tokens: Tokens, max_new_tokens: int) -> list[int]:
    """Greedy decoding with no cache: the whole sequence is computed again for every token. The definition of decoding.

    Args:
        model: the model.
        tokens: the prompt.
        max_new_tokens: how many tokens to add; end-of-sequence tokens do not stop it.

    Returns:
        the new ids only.

    Raises:
        ValueError: wrong tokens, a sequence that outgrows the context, or weights that overflow.
    """
    sequence = [int(token) for token in check_tokens(model, tokens)]
    prompt_tokens = len(sequence)
    check_context(model, prompt_tokens + check_integer("max_new_tokens", max_new_tokens, 0) - 1)  # the last is not fed
    for _ in range(max_new_tokens):
        logits = forward(model, sequence)[-1]  # [vocab]
        sequence.append(greedy(model.ops.to_host(logits)))
    return sequence[prompt_tokens:]
