"""Softmax: scores become weights.

Where the engine does it: `softmax` in minillm/attention.py. Each query has one score for each key; softmax turns them
into the share that the query takes of each value.
"""

# %% learner
import numpy as np


def softmax(scores: np.ndarray) -> np.ndarray:
    """exp(scores), scaled so that each row sums to 1.

    scores: [..., keys], float64. They may be large (1000), and -inf where a key is hidden; never a whole row of -inf.
    returns: [..., keys], float64; each row, along the last axis, sums to 1.
    """
    # %% solution
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


# %% hints
HINTS = (
    "Each weight is exp(score), divided by the sum of exp over its row. Weights do not change when you subtract the "
    "same number from all scores of a row: choose that number so that exp cannot overflow.",
    "scores is [..., keys]; its row maximum and row sum are wanted as [..., 1], so that they broadcast along the last "
    "axis: keepdims=True.",
    "1. the largest score of each row; 2. exp of the scores minus it; 3. divide by the sum of each row.",
    "exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))",
)


# %% check
LESSON = 3
CONCEPTS = ("attention",)


def cases(random):
    yield {"scores": np.array([0.0, 1.0])}
    yield {"scores": np.array([[0.0, 2.0], [1.0, 4.0]])}  # unlike along both axes, so that each wrong one differs
    yield {"scores": np.array([1000.0, 1001.0, -1000.0])}
    yield {"scores": np.array([[0.5, -np.inf, -np.inf], [1.0, 2.0, -np.inf]])}
    yield {"scores": np.array([[0.0, 1.0], [-2000.0, -2001.0]])}
    yield {"scores": random.normal(size=(2, 3, 4))}
    yield {"scores": 300 * random.normal(size=(3, 8))}


def rows_sum_to_one(inputs, result, run):
    """Each row sums to 1."""
    return np.allclose(result.sum(axis=-1), 1)


def shift_changes_nothing(inputs, result, run):
    """The same number added to all scores changes nothing."""
    return np.allclose(run(scores=inputs["scores"] + 5.0), result)


PROPERTIES = (rows_sum_to_one, shift_changes_nothing)


def plug(function):
    return {"minillm.attention.softmax": function}
