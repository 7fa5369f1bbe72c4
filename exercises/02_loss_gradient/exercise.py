"""Cross-entropy and its gradient: what training computes and inference never does.

Where minillm does it: `cross_entropy` in minillm/training/losses.py. Training asks how surprised the model is by the
token that really comes next, and which way each logit should move. Inference stops at the logits.
"""

# %% learner
import numpy as np


def loss_gradient(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean surprise at the true next tokens, and its gradient.

    logits: [tokens, vocab], float64.
    targets: [tokens], int: the token that really came after each.
    returns: (loss, gradient): loss = mean over the tokens of -log(probability of the target), with probabilities =
        softmax(logits); gradient [tokens, vocab] = the derivative of loss with respect to each logit.
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
    "The derivative of -log softmax is as simple as can be: the probabilities, minus 1 at the target. Each row of the "
    "gradient sums to 0: what one logit gains, the others lose.",
    "probs is [tokens, vocab]; probs[np.arange(tokens), targets] picks one number of each row: [tokens].",
    "1. softmax of each row; 2. loss = mean of -log of the picked ones; 3. gradient = probs, minus 1 at the targets; "
    "4. since the loss is a mean, divide by the number of tokens.",
    "gradient[np.arange(tokens), targets] -= 1",
)


# %% check
LESSON = 2
CONCEPTS = ("training",)


def cases(random):
    yield {"logits": np.array([[0.0, 1.0]]), "targets": np.array([0])}
    for tokens, vocab in ((2, 3), (4, 5), (7, 4)):
        yield {"logits": random.normal(size=(tokens, vocab)), "targets": random.integers(0, vocab, tokens)}


def rows_of_the_gradient_sum_to_zero(inputs, result, run):
    """Each row of the gradient sums to 0."""
    return np.allclose(result[1].sum(axis=-1), 0)


def gradient_is_the_slope(inputs, result, run):
    """A logit that is raised by 0.0001 raises the loss by 0.0001 times its gradient."""
    raised = inputs["logits"].copy()
    raised[0, 0] += 1e-4
    return np.isclose(run(logits=raised)[0] - result[0], 1e-4 * result[1][0, 0], rtol=1e-2)


PROPERTIES = (rows_of_the_gradient_sum_to_zero, gradient_is_the_slope)
