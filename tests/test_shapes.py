"""The shapes in signatures are checked in this test run; without this test, nobody would notice if they were not."""

import jaxtyping
import numpy as np
import pytest

from minillm.layers import rms_norm


def test_a_wrong_shape_is_caught():
    with pytest.raises(jaxtyping.TypeCheckError):
        rms_norm(np.ones((2, 3)), np.ones(4), 1e-6)


def test_a_wrong_dtype_is_caught():
    with pytest.raises(jaxtyping.TypeCheckError):
        rms_norm(np.ones((2, 3), int), np.ones(3), 1e-6)
