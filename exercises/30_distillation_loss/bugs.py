"""Wrong answers to `distillation_loss`."""

import numpy as np


def _log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _distilled(student, targets, tokens=None):
    log_probs = _log_softmax(student)
    loss = -(targets * log_probs).sum(axis=-1).mean()
    return float(loss), (np.exp(log_probs) - targets) / (len(student) if tokens is None else tokens)


def one_token_taught(student, teacher, temperature):
    """Only the teacher's most probable token was taught: use its whole distribution as the target."""
    return _distilled(student, np.eye(teacher.shape[1])[teacher.argmax(axis=-1)])


def divergence(student, teacher, temperature):
    """That is the KL divergence: the entropy of the teacher was subtracted. It changes the loss, not the gradient."""
    log_targets = _log_softmax(teacher / temperature)
    loss, gradient = _distilled(student, np.exp(log_targets))
    return loss + float((np.exp(log_targets) * log_targets).sum(axis=-1).mean()), gradient


def exchanged(student, teacher, temperature):
    """Student and teacher are exchanged: the teacher's distribution weights the student's log-probabilities."""
    loss = -(np.exp(_log_softmax(student)) * _log_softmax(teacher / temperature)).sum(axis=-1).mean()
    return float(loss), _distilled(student, np.exp(_log_softmax(teacher / temperature)))[1]


def student_divided_too(student, teacher, temperature):
    """The student's logits were divided by the temperature, too. It belongs to the teacher's distribution only."""
    return _distilled(student / temperature, np.exp(_log_softmax(teacher / temperature)))


def temperature_multiplied(student, teacher, temperature):
    """The teacher's logits were multiplied by the temperature: divide them by it, so that a high one flattens."""
    return _distilled(student, np.exp(_log_softmax(teacher * temperature)))


def temperature_ignored(student, teacher, temperature):
    """The temperature was not applied: divide the teacher's logits by it before softmax."""
    return _distilled(student, np.exp(_log_softmax(teacher)))


def mean_over_the_vocabulary(student, teacher, temperature):
    """The loss is a mean over the vocabulary, too: sum over the vocabulary, then take the mean over the tokens."""
    loss, gradient = _distilled(student, np.exp(_log_softmax(teacher / temperature)))
    return loss / student.shape[1], gradient / student.shape[1]


def gradient_not_divided(student, teacher, temperature):
    """The gradient is that of the sum over the tokens: the loss is a mean, so divide by the number of tokens."""
    return _distilled(student, np.exp(_log_softmax(teacher / temperature)), 1)


def gradient_turned_round(student, teacher, temperature):
    """The gradient has the wrong sign: it is the student's probabilities minus the targets."""
    loss, gradient = _distilled(student, np.exp(_log_softmax(teacher / temperature)))
    return loss, -gradient


def log_of_zero(student, teacher, temperature):
    """A probability was rounded to 0, and its log is -inf: compute log softmax without computing softmax first."""
    log_probs = np.log(np.exp(_log_softmax(student)))
    targets = np.exp(_log_softmax(teacher / temperature))
    return float(-(targets * log_probs).sum(axis=-1).mean()), (np.exp(log_probs) - targets) / len(student)


def largest_not_subtracted(student, teacher, temperature):
    """exp of a large logit of the student overflows: subtract the largest of each row first."""
    log_probs = student - np.log(np.exp(student).sum(axis=-1, keepdims=True))
    targets = np.exp(_log_softmax(teacher / temperature))
    return float(-(targets * log_probs).sum(axis=-1).mean()), (np.exp(log_probs) - targets) / len(student)


def teachers_largest_not_subtracted(student, teacher, temperature):
    """exp of a large logit of the teacher overflows: subtract the largest of each row first."""
    exponentials = np.exp(teacher / temperature)
    return _distilled(student, exponentials / exponentials.sum(axis=-1, keepdims=True))
