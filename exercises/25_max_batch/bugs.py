"""Wrong answers to `max_batch`."""


def _fit(free_bytes, slots, bytes_per_token):
    return max(0, int(free_bytes // (slots * bytes_per_token)))


def _slots(tokens, block):
    return -(-tokens // block) * block


def negative(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """The result is negative if the weights alone do not fit. It must be at least 0."""
    return int((memory_bytes * usable - weights_bytes) // (_slots(prompt + new - 1, block) * bytes_per_token))


def all_of_the_memory(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """All of the memory was used. Only the fraction `usable` is for weights and cache."""
    return _fit(memory_bytes - weights_bytes, _slots(prompt + new - 1, block), bytes_per_token)


def fraction_of_the_free_memory(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """`usable` was multiplied by the memory without the weights. It is a fraction of the whole memory."""
    return _fit((memory_bytes - weights_bytes) * usable, _slots(prompt + new - 1, block), bytes_per_token)


def weights_missing(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """The weights were not subtracted. They are in the same memory."""
    return _fit(memory_bytes * usable, _slots(prompt + new - 1, block), bytes_per_token)


def last_token_counted(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """One token too many was counted. The last new token never runs through the model, so it has no keys and values."""
    return _fit(memory_bytes * usable - weights_bytes, _slots(prompt + new, block), bytes_per_token)


def only_the_prompt(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """Only the prompt was counted. A sequence grows, and the batch must still fit when all new tokens are there."""
    return _fit(memory_bytes * usable - weights_bytes, _slots(prompt, block), bytes_per_token)


def fractions_of_blocks(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """Fractions of blocks were counted. A sequence takes whole blocks, even if the last one is partly empty."""
    return _fit(memory_bytes * usable - weights_bytes, prompt + new - 1, bytes_per_token)


def full_blocks_only(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """The number of blocks was rounded down. The tokens after the last full block need a block, too: round up."""
    slots = max(1, (prompt + new - 1) // block) * block
    return _fit(memory_bytes * usable - weights_bytes, slots, bytes_per_token)


def one_more_than_fits(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """The number of sequences was rounded up. A sequence that does not fit completely does not count: round down."""
    free_bytes, each = memory_bytes * usable - weights_bytes, _slots(prompt + new - 1, block) * bytes_per_token
    return max(0, int(-(-free_bytes // each)))
