"""Wrong answers to `static_batch`."""

import numpy as np


def _batch(prompts, pad):
    lengths = np.array([len(prompt) for prompt in prompts])
    mask = np.arange(lengths.max()) < lengths[:, None]
    tokens = np.full(mask.shape, pad)
    tokens[mask] = np.concatenate(prompts)
    return tokens, mask, lengths - 1


def last_column_for_all(prompts, pad):
    """`last` is the last column in all rows. In a short row that column is padding, and its logits are meaningless."""
    tokens, mask, last = _batch(prompts, pad)
    return tokens, mask, np.full_like(last, mask.shape[1] - 1)


def length_instead_of_index(prompts, pad):
    """`last` is one too large: the last token of a prompt of n tokens has the index n - 1."""
    tokens, mask, last = _batch(prompts, pad)
    return tokens, mask, last + 1


def mask_from_the_values(prompts, pad):
    """The mask was computed from the token values. The pad id may be an ordinary token of a prompt. Use the lengths."""
    tokens, _, last = _batch(prompts, pad)
    return tokens, tokens != pad, last


def padded_on_the_left(prompts, pad):
    """The rows are padded on the left. Here the prompt comes first, and the padding is on the right."""
    _, mask, last = _batch(prompts, pad)
    tokens = np.full(mask.shape, pad)
    tokens[mask[:, ::-1]] = np.concatenate(prompts)
    return tokens, mask[:, ::-1].copy(), np.full_like(last, mask.shape[1] - 1)


def cut_to_the_shortest(prompts, pad):
    """The prompts were cut to the length of the shortest. Pad the others to the length of the longest instead."""
    shortest = min(len(prompt) for prompt in prompts)
    tokens = np.array([prompt[:shortest] for prompt in prompts])
    return tokens, np.ones(tokens.shape, bool), np.full(len(prompts), shortest - 1)


def mask_inverted(prompts, pad):
    """True and False are swapped in the mask. True means that the token belongs to the prompt."""
    tokens, mask, last = _batch(prompts, pad)
    return tokens, ~mask, last
