"""Tokens that are trimmed from a cache stay in it."""

import minillm
from minillm.support.wording import counted

ENGINE = "mlx-lm"
KIND = "KV cache"
THREAD = "https://github.com/ml-explore/mlx-lm/pull/1502"
TITLE = "Prompt cache: never reuse KV that fails to trim to the keyed prefix"
SEEN = "A request that begins like an earlier one gets a wrong answer now and then, without an error."
CAUSE = """
`ConcatenateKVCache.trim` lowered a counter, which the next update computed again from the arrays. So the tokens that
should be gone were attended to, and the new ones got positions after them.
"""
PROPERTY = "truncated_tokens_were_never_there"
MODULE, FUNCTION = "minillm.kv_cache.contiguous", "KVCache.truncate"
PATCH = [
    (
        'self.length = check_integer("length", length, 0, self.length)',
        'check_integer("length", length, 0, self.length)',
    )
]


def answer(model):
    cache, encode = minillm.KVCache(model, 64), model.tokenizer.encode
    minillm.prefill(model, encode("Lily has a blue bird. The bird can sing."), cache)
    cache.truncate(0)
    logits, tokens = minillm.prefill(model, encode("Tom has a"), cache), []
    for _ in range(8):
        tokens.append(int(logits.argmax()))
        logits = minillm.decode_step(model, tokens[-1], cache)
    return [f"{counted(cache.length, 'token')} in the cache: {'Tom has a' + model.tokenizer.decode(tokens)!r}"]
