"""Decode: one token in, the logits for the next one out. `naive_decode` does it without a cache, as a reference."""

from minillm.arrays import Array, Float, Tokens
from minillm.batch_checks import check_context, check_tokens
from minillm.kv_cache.cache import Cache
from minillm.model import Model
from minillm.sampling import greedy
from minillm.support.checks import check_integer
from minillm.transformer import forward, forward_batch


def decode_step(model: Model, token: int, cache: Cache) -> Float[Array, "vocab"]:
    """Append one token to the cache, and return the logits after it.

    Every weight is read from memory for this one row. So a step takes about (bytes of weights) / (memory bandwidth).

    Raises:
        ValueError: the token is not in the vocabulary, or the cache is full; the cache is unchanged.

    Example:
        >>> model = minillm.load("story")
        >>> cache = minillm.KVCache(model, capacity=16)
        >>> logits = minillm.prefill(model, model.tokenizer.encode("The capital of France is"), cache)
        >>> logits = minillm.decode_step(model, int(logits.argmax()), cache)
        >>> cache.length, model.tokenizer.decode([int(logits.argmax())])
        (6, 'aris')
    """
    return forward_batch(model, [([token], cache)])[0]


def naive_decode(model: Model, tokens: Tokens, max_new_tokens: int) -> list[int]:
    """Decode greedily without a cache: compute the whole sequence again for every token. This defines decoding.

    Args:
        model: the model.
        tokens: the prompt.
        max_new_tokens: the number of tokens to add. End-of-sequence tokens do not stop it.

    Returns:
        the new token ids only.

    Raises:
        ValueError: wrong tokens, a sequence longer than the context, or weights that overflow.

    Example:
        >>> model = minillm.load("story")
        >>> minillm.naive_decode(model, model.tokenizer.encode("The capital of France is"), max_new_tokens=3)
        [379, 1910, 14]
    """
    sequence = [int(token) for token in check_tokens(model, tokens)]
    prompt_tokens = len(sequence)
    check_integer("max_new_tokens", max_new_tokens, 0)
    check_context(model, prompt_tokens + max_new_tokens - 1)  # the last new token is not fed back
    for _ in range(max_new_tokens):
        logits = forward(model, sequence)[-1]  # [vocab]
        sequence.append(greedy(model.ops.to_host(logits)))
    return sequence[prompt_tokens:]
