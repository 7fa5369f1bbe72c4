"""The decode loop: one token in, the logits for the next one out.

Where the engine does it: `Generation.__iter__` in minillm/generation.py. Prefill gives the first logits; from then on
each step feeds the token that was just chosen, and the cache knows all the others.
"""

# %% learner
from collections.abc import Callable

import numpy as np


def decode_loop(step: Callable[[int], np.ndarray], logits: np.ndarray, max_new_tokens: int, eos: int) -> list[int]:
    """Greedy decoding with a cache.

    step: the model and its cache: one token id -> logits [vocab] after it. Each call is a whole forward pass.
    logits: [vocab], after the prompt: what prefill returned.
    max_new_tokens: how many tokens to add at most, at least 1.
    eos: the end-of-sequence token: when it is chosen, it is the last one.
    returns: the new ids, the end-of-sequence token included. A token that nothing follows is not fed to `step`.
    """
    # %% solution
    new = [int(logits.argmax())]
    while len(new) < max_new_tokens and new[-1] != eos:
        new.append(int(step(new[-1]).argmax()))
    return new


# %% hints
HINTS = (
    "The first new token costs no step: prefill's logits choose it. For n tokens there are n - 1 steps.",
    "logits is [vocab]; argmax of it is one id, and step(id) is [vocab] again.",
    "1. the first token: argmax of the logits given; 2. while there are too few and the last is not eos: step the last "
    "one, append the argmax.",
    "new.append(int(step(new[-1]).argmax()))",
)


# %% harness
def call(function, table, first_logits, max_new_tokens, eos):
    """A model that remembers: its logits depend on all the tokens it was fed, which are noted."""
    fed = []

    def step(token):
        fed.append(int(token))
        return table[fed].sum(axis=0) + len(fed) * table[token]

    return {"new tokens": function(step, first_logits, max_new_tokens, eos), "fed to step": fed}


# %% check
LESSON = 5
CONCEPTS = ("decode", "greedy")


def cases(random):
    yield {"table": np.eye(2), "first_logits": np.array([0.0, 1.0]), "max_new_tokens": 1, "eos": 0}
    yield {"table": np.eye(2), "first_logits": np.array([1.0, 0.0]), "max_new_tokens": 3, "eos": 0}
    for new in (2, 3, 4, 6, 9):
        table, first = random.normal(size=(5, 5)), random.normal(size=5)
        table[:, 0] -= 3  # the end is rare
        yield {"table": table, "first_logits": first, "max_new_tokens": new, "eos": 0}
    ring = np.eye(5)[[1, 2, 3, 4, 0]]
    yield {"table": ring, "first_logits": np.eye(5)[1], "max_new_tokens": 9, "eos": 3}


def one_step_fewer_than_tokens(inputs, result, run):
    """n new tokens take n - 1 steps: prefill has paid for the first."""
    return len(result["fed to step"]) == len(result["new tokens"]) - 1


PROPERTIES = (one_step_fewer_than_tokens,)
