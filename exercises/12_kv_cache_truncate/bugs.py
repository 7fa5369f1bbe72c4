"""Wrong answers to `kv_cache_truncate`."""


def everything_is_a_hit(cached, prompt):
    """All of the prompt was found in the cache, so nothing is left to run and there are no logits: keep one less."""
    length = 0
    while length < min(len(cached), len(prompt)) and cached[length] == prompt[length]:
        length += 1
    return length


def nothing_truncated(cached, prompt):
    """The whole cache was kept: from the first token that differs on it holds another text."""
    return min(len(cached), len(prompt) - 1)


def equal_tokens_counted(cached, prompt):
    """Equal tokens behind a different one were counted: their keys and values depend on all tokens before."""
    pairs = zip(cached, prompt[:-1], strict=False)
    return sum(a == b for a, b in pairs)


def one_too_few(cached, prompt):
    """One token too few was kept: the first that differs is at the length that can stay."""
    length = 0
    while length < min(len(cached), len(prompt) - 1) and cached[length] == prompt[length]:
        length += 1
    return max(0, length - 1)


def last_cached_never_kept(cached, prompt):
    """The last cached token was given up: it is the *prompt* that needs one left to run, not the cache."""
    length = 0
    while length < min(len(cached), len(prompt)) - 1 and cached[length] == prompt[length]:
        length += 1
    return length


def all_or_nothing(cached, prompt):
    """It was all or nothing: where only the beginning agrees, the beginning can stay."""
    return len(cached) if prompt[: len(cached)] == cached and len(cached) < len(prompt) else 0
