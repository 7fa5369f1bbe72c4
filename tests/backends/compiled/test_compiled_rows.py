"""RMSNorm, SwiGLU and exp of the compiled kernels equal their naive twins."""

import numpy as np
import pytest

from minillm import layers

pytest.importorskip("numba")
from numba import njit

from minillm.backends.compiled.exponential import exp
from minillm.backends.compiled.rows import rms_norm, swiglu
from minillm.backends.compiled.sharing import new_counters
from minillm.backends.compiled.vectors import load, store


@njit
def all_exp(x, out):
    for i in range(0, x.size, 16):
        store(out, i, exp(load(x, i, 16)))


@pytest.mark.parametrize("dtype, ends", [(np.float32, (-87.3, 88)), (np.float64, (-708.3, 709))])
def test_exp_is_within_one_unit_in_the_last_place(dtype, ends):
    x = np.linspace(*ends, 160_000).astype(dtype)
    out, expected = np.empty_like(x), np.exp(x.astype(np.longdouble))
    all_exp(x, out)
    assert np.max(np.abs(out - expected) / np.spacing(expected.astype(dtype))) < 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_of_limits(dtype):
    x = np.array([0, -0.0, 1, np.nan, -np.inf, np.inf, -1e4, 1e4] * 2, dtype)
    out = np.empty_like(x)
    all_exp(x, out)
    np.testing.assert_allclose(out[:8], [1, 1, np.e, np.nan, 0, np.inf, 0, np.inf], rtol=1e-7)


@pytest.mark.parametrize("dim", [576, 20, 6, 37])
def test_rms_norm(dim):
    x, weight = (np.random.default_rng(0).standard_normal(shape).astype(np.float32) for shape in ((5, dim), dim))
    out = np.empty_like(x)
    rms_norm(x, weight, 1e-5, out, new_counters())
    np.testing.assert_allclose(out, layers.rms_norm(x, weight, 1e-5), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("inner", [1536, 20, 37, 1025])
def test_swiglu(inner):
    gate_up = (np.random.default_rng(0).standard_normal((3, 2 * inner)) * 10).astype(np.float32)
    gate_up[0, :3] = -1e4, 1e4, -100
    out = np.empty((3, inner), np.float32)
    swiglu(gate_up, out, new_counters())
    np.testing.assert_allclose(out, layers.swiglu(gate_up[:, :inner], gate_up[:, inner:]), rtol=1e-5, atol=1e-4)
