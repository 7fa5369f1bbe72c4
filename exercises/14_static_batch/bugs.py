"""Wrong answers to `static_batch`."""

import numpy as np


def _batch(prompts, pad):
    lengths = np.array([len(prompt) for prompt in prompts])
    mask = np.arange(lengths.max()) < lengths[:, None]
    tokens = np.full(mask.shape, pad)
    tokens[mask] = np.concatenate(prompts)
    return tokens, mask, lengths - 1


def last_column_for_all(prompts, pad):
    """The last column was taken for all rows: in a short one that is a pad, and its logits mean nothing."""
    tokens, mask, last = _batch(prompts, pad)
    return tokens, mask, np.full_like(last, mask.shape[1] - 1)


def length_instead_of_place(prompts, pad):
    """`last` is one too far: a prompt of n tokens ends at place n - 1."""
    tokens, mask, last = _batch(prompts, pad)
    return tokens, mask, last + 1


def mask_from_the_values(prompts, pad):
    """The mask was made from the values: the pad's id may be an ordinary token of a prompt. Use the lengths."""
    tokens, _, last = _batch(prompts, pad)
    return tokens, tokens != pad, last


def filled_on_the_left(prompts, pad):
    """Rows are filled up on the left: here the prompt comes first."""
    _, mask, last = _batch(prompts, pad)
    tokens = np.full(mask.shape, pad)
    tokens[mask[:, ::-1]] = np.concatenate(prompts)
    return tokens, mask[:, ::-1].copy(), np.full_like(last, mask.shape[1] - 1)


def cut_to_the_shortest(prompts, pad):
    """Prompts were cut to the shortest: fill the others up to the longest instead."""
    shortest = min(len(prompt) for prompt in prompts)
    tokens = np.array([prompt[:shortest] for prompt in prompts])
    return tokens, np.ones(tokens.shape, bool), np.full(len(prompts), shortest - 1)


def mask_of_pads(prompts, pad):
    """True and False are exchanged in the mask: True says that a token is the prompt's."""
    tokens, mask, last = _batch(prompts, pad)
    return tokens, ~mask, last
