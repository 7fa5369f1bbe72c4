"""Cross-entropy and its gradient: what training computes and inference does not.

Where minillm does it: `cross_entropy` in minillm/training/losses.py. The loss is large if the model gives a small
probability to the token that really comes next. The gradient says how the loss changes with each logit. Inference stops
at the logits.
"""

# %% learner
import numpy as np


def loss_gradient(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the cross-entropy loss of the targets, and its gradient.

    logits: [tokens, vocab], float64.
    targets: [tokens], int: the token that really comes next, for each row of logits.
    returns: (loss, gradient). loss = mean over the tokens of -log(probability of the target), with probabilities =
        softmax(logits). gradient [tokens, vocab] = the derivative of loss with respect to each logit.
    """
    # %% solution
    tokens = len(targets)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probs = exponentials / exponentials.sum(axis=-1, keepdims=True)  # [tokens, vocab]
    loss = -np.log(probs[np.arange(tokens), targets]).mean()
    gradient = probs.copy()
    gradient[np.arange(tokens), targets] -= 1
    return float(loss), gradient / tokens


# %% hints
HINTS = (
    "The derivative of -log softmax is simple: the probabilities, minus 1 at the target. Each row of the gradient sums "
    "to 0, because the probabilities sum to 1.",
    "probs is [tokens, vocab]. probs[np.arange(tokens), targets] picks one number of each row, so it is [tokens].",
    "1. Compute softmax of each row. 2. loss = mean of -log of the picked numbers. 3. gradient = probs, minus 1 at the "
    "targets. 4. The loss is a mean, so divide the gradient by the number of tokens.",
    "gradient[np.arange(tokens), targets] -= 1",
)


# %% check
LESSON = 2
CONCEPTS = ("training",)


def cases(random):
    yield {"logits": np.array([[0.0, 1.0]]), "targets": np.array([0])}
    yield {"logits": np.array([[1000.0, 1001.0]]), "targets": np.array([0])}  # exp(1000) overflows
    yield {"logits": np.array([[1000.0, 1001.0], [0.0, 1.0]]), "targets": np.array([0, 0])}  # rows far apart
    yield {"logits": np.array([[0.0, 2000.0], [2000.0, 0.0]]), "targets": np.array([1, 0])}
    for tokens, vocab in ((2, 3), (4, 5), (7, 4)):
        yield {"logits": random.normal(size=(tokens, vocab)), "targets": random.integers(0, vocab, tokens)}


def rows_of_the_gradient_sum_to_zero(inputs, result, run):
    """Each row of the gradient sums to 0."""
    return np.allclose(result[1].sum(axis=-1), 0)


def gradient_is_the_slope(inputs, result, run):
    """If a logit grows by 0.0001, the loss grows by 0.0001 times the gradient of this logit."""
    raised = inputs["logits"].copy()
    raised[0, 0] += 1e-4
    return np.isclose(run(logits=raised)[0] - result[0], 1e-4 * result[1][0, 0], rtol=1e-2)


PROPERTIES = (rows_of_the_gradient_sum_to_zero, gradient_is_the_slope)


def engine(logits, targets):
    from minillm.training.losses import cross_entropy

    return cross_entropy(logits, targets, len(targets))
