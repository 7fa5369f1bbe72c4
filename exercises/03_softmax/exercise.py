"""Softmax: turn scores into weights.

Where the engine does it: `softmax` in minillm/attention.py. Each query has one score for each key. Softmax turns them
into the attention weights, with which the values are averaged.
"""

# %% learner
import numpy as np


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return exp(scores), scaled so that each row sums to 1.

    scores: [..., keys], float64. A score may be large (1000), or -inf where a key is hidden. No row is all -inf.
    returns: [..., keys], float64. Each row, along the last axis, sums to 1.
    """
    # %% solution
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


# %% hints
HINTS = (
    "Each weight is exp(score), divided by the sum of exp over its row. The weights do not change if you subtract the "
    "same number from all scores of a row. Choose this number so that exp cannot overflow.",
    "scores is [..., keys]. The maximum and the sum of a row must be [..., 1], so that they broadcast along the last "
    "axis: use keepdims=True.",
    "1. Find the largest score of each row. 2. Compute exp of the scores minus it. 3. Divide by the sum of each row.",
    "exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))",
)


# %% check
LESSON = 3
CONCEPTS = ("attention",)


def cases(random):
    yield {"scores": np.array([0.0, 1.0])}
    yield {"scores": np.array([[0.0, 2.0], [1.0, 4.0]])}  # a wrong axis changes the result
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


def engine(scores):
    from minillm.attention import softmax

    return softmax(scores)
