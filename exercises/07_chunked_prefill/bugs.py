"""Wrong answers to `chunked_prefill`."""


def last_chunk_dropped(forward, tokens, cache, chunk):
    """The shorter chunk at the end was left out: the last tokens of the prompt have to run, too."""
    logits = forward(tokens[:chunk], cache)
    for first in range(chunk, len(tokens) - chunk + 1, chunk):
        logits = forward(tokens[first : first + chunk], cache)
    return logits


def everything_again(forward, tokens, cache, chunk):
    """Every pass ran the prompt from its beginning: tokens that were already cached were cached again."""
    for first in range(0, len(tokens), chunk):
        logits = forward(tokens[: first + chunk], cache)
    return logits


def all_at_once(forward, tokens, cache, chunk):
    """The whole prompt ran in one pass: the logits are right, but the pass is larger than `chunk`."""
    return forward(tokens, cache)


def logits_of_the_first_chunk(forward, tokens, cache, chunk):
    """The logits are those after the first chunk: they must be those after the whole prompt."""
    logits = [forward(tokens[first : first + chunk], cache) for first in range(0, len(tokens), chunk)]
    return logits[0]


def chunks_overlap(forward, tokens, cache, chunk):
    """Chunks overlap by one token, which is cached twice: begin each chunk where the last one ended."""
    logits = forward(tokens[:chunk], cache)
    for first in range(chunk, len(tokens), chunk):
        logits = forward(tokens[first - 1 : first + chunk], cache)
    return logits


def new_cache_for_each_chunk(forward, tokens, cache, chunk):
    """Every chunk ran with its own cache, so it did not see earlier chunks: pass the same cache to all."""
    for first in range(0, len(tokens), chunk):
        logits = forward(tokens[first : first + chunk], [])
    return logits
