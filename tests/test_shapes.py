"""The shapes in signatures are checked in this test run; without this test, nobody would notice if they were not."""

import jaxtyping
import numpy as np
import pytest
import shape_checker
from shape_checker import check_shapes

from minillm.layers import rms_norm

WRONG = np.ones((2, 3)), np.ones(4), 1e-6


def test_a_wrong_shape_is_caught():
    with pytest.raises(jaxtyping.TypeCheckError):
        rms_norm(*WRONG)


def test_a_wrong_dtype_is_caught():
    with pytest.raises(jaxtyping.TypeCheckError):
        rms_norm(np.ones((2, 3), int), np.ones(3), 1e-6)


def test_the_first_calls_of_a_test_are_checked():
    """From then on they are not, which a wrong shape shows in NumPy's own words."""
    right = np.ones((2, 3)), np.ones(3), 1e-6
    for _ in range(shape_checker.MOST_CALLS):
        rms_norm(*right)
    with pytest.raises(ValueError, match="could not be broadcast"):
        rms_norm(*WRONG)
    check_shapes()
    with pytest.raises(jaxtyping.TypeCheckError):
        rms_norm(*WRONG)
