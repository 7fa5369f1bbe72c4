"""The last chunk of a prompt begins too early, with tokens that are in the cache already."""

import minillm
from minillm.support.wording import counted

ENGINE = "tinygrad"
KIND = "chunked prefill"
THREAD = "https://github.com/tinygrad/tinygrad/pull/15182"
TITLE = "llm: fix chunked prefill"
SEEN = "Prompts of up to 32 tokens are right. After a longer one the model repeats the prompt instead of answering."
CAUSE = "Prefill in chunks of 32 tokens fed wrong tokens as soon as a prompt had more than one chunk."
PROPERTY = "chunked_prefill_is_whole_prefill"
MODULE, FUNCTION = "minillm.prefill", "prefill"
PATCH = [("[(tokens[last_start:], cache)])[0]", "[(tokens[-chunk:], cache)])[0]  # as long as the others")]


def answer(model):
    tokens, lines = model.tokenizer.encode("Ignore this. Ignore this. Ignore this. The capital of France is"), []
    for chunk in (None, 8):
        cache = minillm.KVCache(model, 64)
        logits = minillm.prefill(model, tokens, cache, chunk)
        text = model.tokenizer.decode([int(logits.argmax())])
        lines.append(f"chunk={chunk}: {counted(cache.length, 'token')} in the cache, the next one is {text!r}")
    return lines
