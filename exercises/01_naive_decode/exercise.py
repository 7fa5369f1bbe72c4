"""Naive decoding: generate one token at a time.

Where the engine does it: `naive_decode` in minillm/decode.py, which does not stop at end-of-sequence
tokens. Inference is this loop: ask the model which token comes next, append it, ask again.
Every faster way of decoding has to give the same tokens.
"""

# %% learner
from collections.abc import Callable

import numpy as np


def naive_decode(
    next_logits: Callable[[list[int]], np.ndarray], tokens: list[int], max_new_tokens: int, eos: int
) -> list[int]:
    """Append the most probable next token until there are max_new_tokens new ones, or until it is `eos`.

    next_logits: the model. It takes a list of token ids and returns the logits [vocab] for the token after them.
    tokens: the prompt, at least one id.
    max_new_tokens: the maximum number of new tokens.
    eos: the end-of-sequence token. When it is chosen, it is the last one.
    returns: the new ids only, including the end-of-sequence token.
    """
    # %% solution
    new: list[int] = []
    while len(new) < max_new_tokens and eos not in new:
        new.append(int(next_logits(tokens + new).argmax()))
    return new


# %% hints
HINTS = (
    "The model answers one question: which token comes after these? Append its answer to the tokens and ask again.",
    "next_logits takes the prompt and all new tokens as one list, and returns [vocab]. Its argmax is one id.",
    "1. Begin with an empty list of new tokens. 2. Until there are max_new_tokens or the last one is eos: compute the "
    "logits of prompt + new. 3. Append the argmax. 4. Return only the new tokens.",
    "new.append(int(next_logits(tokens + new).argmax()))",
)


# %% harness
def call(function, table, tokens, max_new_tokens, eos):
    """Call it with a table as the model. The logits depend on every token, and most on the last."""
    return function(lambda ids: table[ids[-1]] + table[ids].sum(axis=0) / 4, tokens, max_new_tokens, eos)


# %% check
LESSON = 1
CONCEPTS = ("inference", "decode", "greedy")


def cases(random):
    yield {"table": np.eye(3)[[1, 2, 0]], "tokens": [0], "max_new_tokens": 1, "eos": 2}
    yield {"table": np.eye(3)[[1, 2, 0]], "tokens": [0], "max_new_tokens": 5, "eos": 2}
    for tokens in ([2, 0], [0, 2]):  # eos in the prompt
        yield {"table": np.eye(3)[[1, 2, 0]], "tokens": tokens, "max_new_tokens": 5, "eos": 2}
    for length, new in ((1, 4), (3, 3), (5, 2), (2, 9), (4, 12)):
        tokens = random.integers(1, 7, length).tolist()
        yield {"table": random.normal(size=(7, 7)), "tokens": tokens, "max_new_tokens": new, "eos": 0}
    ring = 4 * np.eye(6)[[1, 2, 3, 4, 5, 0]]
    yield {"table": ring, "tokens": [2, 1], "max_new_tokens": 9, "eos": 0}


def no_more_than_asked_for(inputs, result, run):
    """There are at most max_new_tokens new tokens, for a prompt of any length."""
    return len(result) <= inputs["max_new_tokens"]


def ends_with_eos(inputs, result, run):
    """No token comes after the end-of-sequence token."""
    return inputs["eos"] not in result[:-1]


PROPERTIES = (no_more_than_asked_for, ends_with_eos)
