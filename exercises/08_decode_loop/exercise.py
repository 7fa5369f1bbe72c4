"""The decode loop: one token in, the logits for the next one out.

Where the engine does it: `Generation.__iter__` in minillm/generation.py. Prefill gives the first logits. After that,
each step gets the token that was just chosen. The keys and values of all earlier tokens are in the cache.
"""

# %% learner
from collections.abc import Callable

import numpy as np


def decode_loop(step: Callable[[int], np.ndarray], logits: np.ndarray, max_new_tokens: int, eos: int) -> list[int]:
    """Decode greedily with a cache.

    step: the model with its cache: one token id -> logits [vocab] after it. Each call is a whole forward pass.
    logits: [vocab], after the prompt, as prefill returned them.
    max_new_tokens: the maximum number of new tokens, at least 1.
    eos: the end-of-sequence token. When it is chosen, it is the last one.
    returns: the new ids, including the end-of-sequence token. The last new token is not passed to `step`.
    """
    # %% solution
    new = [int(logits.argmax())]
    while len(new) < max_new_tokens and new[-1] != eos:
        new.append(int(step(new[-1]).argmax()))
    return new


# %% hints
HINTS = (
    "The first new token needs no step: it is chosen from prefill's logits. So n new tokens need n - 1 steps.",
    "logits is [vocab]. Its argmax is one id, and step(id) is [vocab] again.",
    "1. The first new token is the argmax of the given logits. 2. While there are fewer than max_new_tokens and the "
    "last one is not eos: call step with the last one and append the argmax.",
    "new.append(int(step(new[-1]).argmax()))",
)


# %% harness
def call(function, table, first_logits, max_new_tokens, eos):
    """Call it with a model whose logits depend on all tokens that it was fed; record these tokens."""
    fed = []

    def step(token):
        fed.append(int(token))
        return table[fed].sum(axis=0) + len(fed) * table[token]

    return {"new tokens": function(step, first_logits, max_new_tokens, eos), "fed to step": fed}


# %% check
LESSON = 6
CONCEPTS = ("decode", "greedy")


def cases(random):
    yield {"table": np.eye(2), "first_logits": np.array([0.0, 1.0]), "max_new_tokens": 1, "eos": 0}
    yield {"table": np.eye(2), "first_logits": np.array([1.0, 0.0]), "max_new_tokens": 3, "eos": 0}
    for new in (2, 3, 4, 6, 9):
        table, first = random.normal(size=(5, 5)), random.normal(size=5)
        table[:, 0] -= 3  # so that eos is rare
        yield {"table": table, "first_logits": first, "max_new_tokens": new, "eos": 0}
    ring = np.eye(5)[[1, 2, 3, 4, 0]]
    yield {"table": ring, "first_logits": np.eye(5)[1], "max_new_tokens": 9, "eos": 3}


def one_step_fewer_than_tokens(inputs, result, run):
    """n new tokens need n - 1 steps: the first one is chosen from prefill's logits."""
    return len(result["fed to step"]) == len(result["new tokens"]) - 1


PROPERTIES = (one_step_fewer_than_tokens,)
