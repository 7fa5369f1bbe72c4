"""The mask of a prompt's second chunk leaves out the tokens in the cache."""

import minillm

ENGINE = "candle"
KIND = "chunked prefill"
THREAD = "https://github.com/huggingface/candle/pull/3743"
TITLE = "Fix attention masks for chunked prefill (seq_len > 1 with a warm KV cache)"
SEEN = "A prompt in one pass is right, and so is decoding. A long prompt in chunks fails."
CAUSE = """
The causal mask was built for the new tokens alone, as if they were the first. candle stopped with an error about
shapes. Here the shapes fit, and the answer is wrong.
"""
PROPERTY = "chunked_prefill_is_whole_prefill"
MODULE, FUNCTION = "minillm.attention", "attend"
PATCH = [
    (
        "causal_mask(queries, scores.shape[-1], start, window)",
        "causal_mask(queries, scores.shape[-1], start if queries == 1 else 0, window)",
    )
]


def answer(model):
    tokens, lines = model.tokenizer.encode("Once upon a time there was a king. The capital of France is"), []
    for chunk in (None, 8):
        logits = minillm.prefill(model, tokens, minillm.KVCache(model, 64), chunk)
        lines.append(f"chunk={chunk}: the next token is {model.tokenizer.decode([int(logits.argmax())])!r}")
    return lines
