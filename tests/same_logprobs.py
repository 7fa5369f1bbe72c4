"""Log-probabilities of two ways to the same text."""

import numpy as np


def assert_same_logprobs(model, found, expected):
    """To the bit on the exact backend; elsewhere up to the rounding of float64 sums in another order."""
    if model.ops.name == "exact":
        assert found == expected
    else:
        numbers = [[(entry.logprob, *(p for _, p in entry.best)) for entry in entries] for entries in (found, expected)]
        np.testing.assert_allclose(*numbers, rtol=1e-9, atol=1e-9)
