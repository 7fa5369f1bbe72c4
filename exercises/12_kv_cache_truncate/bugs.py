"""Wrong answers to `kv_cache_truncate`."""


def everything_is_a_hit(cached, prompt):
    """The whole prompt was found in the cache, so no token is left to give logits: keep one token less."""
    length = 0
    while length < min(len(cached), len(prompt)) and cached[length] == prompt[length]:
        length += 1
    return length


def nothing_truncated(cached, prompt):
    """The whole cache was kept: from the first token that differs on, it holds keys and values of another sequence."""
    return min(len(cached), len(prompt) - 1)


def equal_tokens_counted(cached, prompt):
    """Equal tokens after a different one were counted: their keys and values depend on all tokens before them."""
    pairs = zip(cached, prompt[:-1], strict=False)
    return sum(a == b for a, b in pairs)


def one_too_few(cached, prompt):
    """One token too few was kept: the index of the first token that differs is the length to keep."""
    length = 0
    while length < min(len(cached), len(prompt) - 1) and cached[length] == prompt[length]:
        length += 1
    return max(0, length - 1)


def last_cached_never_kept(cached, prompt):
    """The last cached token was dropped: the *prompt* needs a token left to run, not the cache."""
    length = 0
    while length < min(len(cached), len(prompt)) - 1 and cached[length] == prompt[length]:
        length += 1
    return length


def all_or_nothing(cached, prompt):
    """The cache was kept whole or not at all: if only its first tokens agree, those can be kept."""
    return len(cached) if prompt[: len(cached)] == cached and len(cached) < len(prompt) else 0
