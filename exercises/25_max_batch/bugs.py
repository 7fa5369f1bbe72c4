"""Wrong answers to `max_batch`."""


def _fit(free_bytes, slots, bytes_per_token):
    return max(0, int(free_bytes // (slots * bytes_per_token)))


def _slots(tokens, block):
    return -(-tokens // block) * block


def less_than_none(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """It is negative where the weights alone do not fit: there is no such batch, so 0."""
    return int((memory_bytes * usable - weights_bytes) // (_slots(prompt + new - 1, block) * bytes_per_token))


def all_of_the_memory(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """All of the memory was given away: the runtime needs its share."""
    return _fit(memory_bytes - weights_bytes, _slots(prompt + new - 1, block), bytes_per_token)


def share_of_the_rest(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """The usable share was taken of what the weights leave over: it is a share of the whole memory."""
    return _fit((memory_bytes - weights_bytes) * usable, _slots(prompt + new - 1, block), bytes_per_token)


def weights_forgotten(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """The weights were forgotten: they lie in the same memory."""
    return _fit(memory_bytes * usable, _slots(prompt + new - 1, block), bytes_per_token)


def last_token_counted(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """One token too many was counted: the last one that is written is never fed back, and leaves no keys and values."""
    return _fit(memory_bytes * usable - weights_bytes, _slots(prompt + new, block), bytes_per_token)


def only_the_prompt(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """Only the prompts fit: a sequence grows while it is written, and its batch must still fit at the end."""
    return _fit(memory_bytes * usable - weights_bytes, _slots(prompt, block), bytes_per_token)


def parts_of_blocks(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """Sequences took parts of blocks: the last block belongs to its sequence even if it is partly empty."""
    return _fit(memory_bytes * usable - weights_bytes, prompt + new - 1, bytes_per_token)


def full_blocks_only(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """The blocks were rounded down: the tokens behind the last full block need one, too."""
    slots = max(1, (prompt + new - 1) // block) * block
    return _fit(memory_bytes * usable - weights_bytes, slots, bytes_per_token)


def one_more_than_fits(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    """It was rounded up: a part of a sequence is none."""
    free_bytes, each = memory_bytes * usable - weights_bytes, _slots(prompt + new - 1, block) * bytes_per_token
    return max(0, int(-(-free_bytes // each)))
