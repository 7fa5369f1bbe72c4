"""The second loss against its definition, written out, and finite differences."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minillm.training.emphasis import emphasised_loss, repeats
from minillm.training.losses import IGNORED, cross_entropy

END = 0
NAMES = np.array([[1, 2], [3, 4], [5, 6]])  # three words, each with two forms
HOMES = np.array([[7], [8]])


def by_the_letter(logits: np.ndarray, inputs: np.ndarray, targets: np.ndarray, weight: float, count: int) -> float:
    """The loss whose gradient is asked for, place by place."""
    total = cross_entropy(logits.copy(), targets.ravel(), count)[0]
    for row, column in np.ndindex(targets.shape):
        text = inputs[row, : column + 1].tolist()
        text = text[len(text) - text[::-1].index(END) :] if END in text else text
        for group in (NAMES, HOMES):
            for word in group.tolist():
                for form, token in enumerate(word):
                    if token == targets[row, column] and set(word) & set(text):
                        among = logits[row * targets.shape[1] + column, group[:, form]]
                        total -= (
                            weight * np.log(np.exp(among)[group[:, form] == token].item() / np.exp(among).sum()) / count
                        )
    return total


def problem(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, 10, (2, 13))
    inputs, targets = rows[:, :-1], rows[:, 1:].copy()
    targets[1, -2:] = IGNORED
    return 3 * generator.normal(size=(24, 10)), inputs, targets


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.5, 4.0]))
def test_the_gradient_is_that_of_the_loss_by_the_letter(seed, weight):
    logits, inputs, targets = problem(seed)
    reported, gradient = emphasised_loss([NAMES, HOMES], weight, END)(logits.copy(), inputs, targets, 9)
    direction, step = np.random.default_rng(seed).normal(size=logits.shape), 1e-6
    above, below = (by_the_letter(logits + sign * step * direction, inputs, targets, weight, 9) for sign in (1, -1))
    assert abs((above - below) / (2 * step) - np.vdot(gradient, direction)) < 1e-7
    assert np.isclose(reported, cross_entropy(logits, targets.ravel(), 9)[0], rtol=1e-12)


def test_a_word_counts_in_any_form_but_not_across_texts():
    inputs = np.array([[1, 9, 9, 4, END, 9, 9]])
    targets = np.array([[9, 2, 3, END, 1, 3, 6]])
    assert repeats(inputs, targets, NAMES, END).tolist() == [[False, True, False, False, False, False, False]]
