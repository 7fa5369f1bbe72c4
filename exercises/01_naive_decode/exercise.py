"""Naive decoding: a text grows by one token at a time.

Where the engine does it: `naive_decode` in minillm/decode.py. This is what inference *is*: ask the model which token
comes next, add it, ask again. Every faster way of decoding has to give the same tokens.
"""

# %% learner
from collections.abc import Callable

import numpy as np


def naive_decode(
    next_logits: Callable[[list[int]], np.ndarray], tokens: list[int], max_new_tokens: int, eos: int
) -> list[int]:
    """Add the most probable token, again and again.

    next_logits: the model: a list of token ids -> logits [vocab] for the token after them.
    tokens: the prompt, at least one id.
    max_new_tokens: how many tokens to add at most.
    eos: the end-of-sequence token: when it is chosen, it is the last one.
    returns: the new ids only, the end-of-sequence token included.
    """
    # %% solution
    new: list[int] = []
    while len(new) < max_new_tokens and eos not in new:
        new.append(int(next_logits(tokens + new).argmax()))
    return new


# %% hints
HINTS = (
    "The model only ever answers one question: which token comes after these? Its answer becomes part of the next "
    "question.",
    "next_logits takes the prompt and all new tokens as one list, and returns [vocab]; argmax over it is one id.",
    "1. begin with no new tokens; 2. until there are enough or the last is eos: logits of prompt + new; 3. append the "
    "argmax; 4. return only the new ones.",
    "new.append(int(next_logits(tokens + new).argmax()))",
)


# %% harness
def call(function, table, tokens, max_new_tokens, eos):
    """The model is a table: its logits depend on every token, and most on the last."""
    return function(lambda ids: table[ids[-1]] + table[ids].sum(axis=0) / 4, tokens, max_new_tokens, eos)


# %% check
LESSON = 1
CONCEPTS = ("inference", "decode", "greedy")


def cases(random):
    yield {"table": np.eye(3)[[1, 2, 0]], "tokens": [0], "max_new_tokens": 1, "eos": 2}
    yield {"table": np.eye(3)[[1, 2, 0]], "tokens": [0], "max_new_tokens": 5, "eos": 2}
    for length, new in ((1, 4), (3, 3), (5, 2), (2, 9), (4, 12)):
        tokens = random.integers(1, 7, length).tolist()
        yield {"table": random.normal(size=(7, 7)), "tokens": tokens, "max_new_tokens": new, "eos": 0}
    ring = 4 * np.eye(6)[[1, 2, 3, 4, 5, 0]]
    yield {"table": ring, "tokens": [2, 1], "max_new_tokens": 9, "eos": 0}


def no_more_than_asked_for(inputs, result, run):
    """There are at most max_new_tokens new tokens, however long the prompt is."""
    return len(result) <= inputs["max_new_tokens"]


def ends_with_eos(inputs, result, run):
    """Nothing comes after the end-of-sequence token."""
    return inputs["eos"] not in result[:-1]


PROPERTIES = (no_more_than_asked_for, ends_with_eos)
