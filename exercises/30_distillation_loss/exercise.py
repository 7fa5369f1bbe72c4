"""Distillation: a small model learns the whole distribution of a large one.

Where minillm does it: `soft_cross_entropy` in minillm/training/losses.py, with the teacher's distribution of
minillm/training/distill.py. A text contains one next token. The teacher gives a probability to every token, so each
position teaches more (Hinton et al., 1503.02531). Article: Optimization Strategies, 2.
"""

# %% learner
import numpy as np


def distillation_loss(student: np.ndarray, teacher: np.ndarray, temperature: float) -> tuple[float, np.ndarray]:
    """Return the cross-entropy of the student with the teacher's distribution, and its gradient.

    student: [tokens, vocab], float64: the logits of the small model.
    teacher: [tokens, vocab], float64: the logits of the large model. A logit may be large, or far from the others.
    temperature: above 0. It divides the logits of the teacher only.
    returns: (loss, gradient). target = softmax(teacher / temperature), for each row. loss, in nats per token = mean
        over the tokens of -(sum over the vocabulary of target * log(probability of the student)). gradient
        [tokens, vocab] = the derivative of loss with respect to each logit of the student.
    """
    # %% solution

    def log_softmax(logits: np.ndarray) -> np.ndarray:
        shifted = logits - logits.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))

    targets, log_probs = np.exp(log_softmax(teacher / temperature)), log_softmax(student)  # [tokens, vocab] each
    loss = -(targets * log_probs).sum(axis=-1).mean()
    return float(loss), (np.exp(log_probs) - targets) / len(student)


# %% hints
HINTS = (
    "It is the loss of exercise 2 with one change: the target is a distribution, not one token. So the gradient is the "
    "student's probabilities minus the target's. Compute log softmax directly: the log of a probability that has been "
    "rounded to 0 is -inf.",
    "Targets and log-probabilities are [tokens, vocab]. The sum over the vocabulary gives one number for each token, "
    "and the mean over the tokens gives the loss.",
    "1. log softmax of teacher / temperature; exp gives the targets. 2. log softmax of the student. 3. loss = mean of "
    "-sum(targets * log_probs). 4. gradient = (probabilities - targets) / tokens.",
    "log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))",
)


# %% check
LESSON = 15
CONCEPTS = ("training", "distillation")


def cases(random):
    yield _case([[0.0, 1.0]], [[0.0, 2.0]], 1.0)
    yield _case([[0.0, 1.0]], [[0.0, 2.0]], 2.0)
    yield _case([[1000.0, 1001.0]], [[0.0, 2.0]], 1.0)  # exp(1000) overflows
    yield _case([[0.0, 1.0]], [[1000.0, 1001.0]], 1.0)
    yield _case([[0.0, -2000.0]], [[0.0, -2000.0]], 1.0)  # exp(-2000) is 0, and its log -inf
    yield _case([[0.0, 1.0], [3.0, 0.0]], [[0.0, 1.0], [0.0, 2.0]], 1.0)
    for tokens, vocab, temperature in ((2, 3, 0.5), (3, 5, 1.0), (5, 4, 2.0)):
        yield _case(*random.normal(size=(2, tokens, vocab)), temperature)


def _case(student, teacher, temperature):
    return {"student": np.array(student), "teacher": np.array(teacher), "temperature": temperature}


def rows_of_the_gradient_sum_to_zero(inputs, result, run):
    """Each row of the gradient sums to 0."""
    return np.allclose(result[1].sum(axis=-1), 0)


def a_student_like_its_teacher_has_no_gradient(inputs, result, run):
    """If the student has the teacher's logits, and the temperature is 1, the gradient is 0."""
    return np.allclose(run(student=inputs["teacher"], temperature=1.0)[1], 0)


def gradient_is_the_slope(inputs, result, run):
    """If a logit of the student grows by 0.0001, the loss grows by 0.0001 times the gradient of this logit."""
    raised = inputs["student"].copy()
    raised[0, 0] += 1e-4
    return np.isclose(run(student=raised)[0] - result[0], 1e-4 * result[1][0, 0], rtol=1e-2, atol=1e-8)


PROPERTIES = (rows_of_the_gradient_sum_to_zero, a_student_like_its_teacher_has_no_gradient, gradient_is_the_slope)


def engine(student, teacher, temperature):
    from minillm.attention import softmax
    from minillm.training.losses import soft_cross_entropy

    tokens = len(student)
    return soft_cross_entropy(student.copy(), softmax(teacher / temperature), np.zeros(tokens, int), tokens)
