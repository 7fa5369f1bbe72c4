"""exp, and the cos and sin of RoPE, for the exact backend: near to the real ones, and a row's own affair."""

import ast
import decimal
import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_models import ropes

from minillm import reference
from minillm.backends import exact, exact_functions
from minillm.backends.exact_functions import cos_sin, exp, first_cos_sin
from minillm.config import RopeParameters


@given(x=st.floats(-700, 700))
def test_exp_is_near_to_the_real_one(x):
    assert math.isclose(exp(np.array([x]))[0], math.exp(x), rel_tol=1e-12)


def test_exp_at_its_edges():
    assert exp(np.array([0.0, -0.0])).tolist() == [1.0, 1.0]
    assert exp(np.array([-np.inf, -1e9, 1e9, np.inf])).tolist() == exp(np.array([-700.0, -700, 700, 700])).tolist()
    halves = (np.arange(-1000, 1000) + 0.5) * math.log(2)  # where the number of doublings changes
    np.testing.assert_allclose(exp(halves), [math.exp(x) for x in halves], rtol=1e-12)


@given(data=st.data())
def test_cos_and_sin_are_the_specification_s(data):
    head_dim = data.draw(st.sampled_from([2, 4, 8, 64]))
    rope = data.draw(ropes(head_dim))
    positions = data.draw(st.lists(st.integers(0, 200_000), min_size=1, max_size=5))
    angles = [[m * reference.frequency(i, head_dim, rope) for i in range(head_dim // 2)] for m in positions]
    cosine, sine = cos_sin(np.array(positions), rope, head_dim)
    # an angle that rounds by 2**-53 of itself, and as much for each of the angles that are added
    error = 4 * (max(positions) + 1) * 2.0**-53 * max(1.0, np.max(angles[0]) / max(positions[0], 1))
    np.testing.assert_allclose(cosine[:, 0], np.cos(angles), rtol=0, atol=error)
    np.testing.assert_allclose(sine[:, 0], np.sin(angles), rtol=0, atol=error)


def test_cos_and_sin_depend_on_the_position_alone():
    positions, rope = np.array([5, 131_071, 0, 12, 4096]), RopeParameters()
    together = cos_sin(positions, rope, 64)
    for row, position in enumerate(positions):
        for part, alone in zip(together, cos_sin(np.array([position]), rope, 64), strict=True):
            assert np.array_equal(part[row], alone[0])


def test_first_cos_and_sin_do_not_depend_on_the_caller_s_decimals():
    rope = RopeParameters(123_456.0)
    before = first_cos_sin.__wrapped__(rope, 16)
    with decimal.localcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP)):
        after = first_cos_sin.__wrapped__(rope, 16)
    assert np.array_equal(before, after)


@pytest.mark.parametrize("factor", [5e-324, 1e-30, 1e29])
def test_absurd_factors_give_some_angle(factor):
    cosine, sine = first_cos_sin(RopeParameters(rope_type="linear", factor=factor), 8)
    np.testing.assert_allclose(cosine**2 + sine**2, 1.0)


# Each is exact, or one operation per number that IEEE 754 defines to the last bit, or only moves numbers about.
DEFINED = set("abs clip ldexp maximum rint spacing sqrt where".split())
MOVING = set("array concatenate cumsum dtype empty float64 full_like inf int32 ones split zeros".split())
AT_LOAD = {"array_equal", "random"}


@pytest.mark.parametrize("module", [exact, exact_functions], ids=lambda module: module.__name__)
def test_nothing_is_used_that_differs_between_processors(module):
    """No np.exp, np.mean, pow: in a model their last bits are rounded away nearly always, so no hash would tell."""
    nodes = list(ast.walk(ast.parse(inspect.getsource(module))))
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    used = {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "np"}
    assert used <= DEFINED | MOVING | AT_LOAD
    assert not {node.attr for node in attributes} & {"mean", "dot", "prod", "std", "var", "einsum"}
    powers = [node for node in nodes if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)]
    assert {ast.unparse(node.left) for node in powers} <= {"2", "2.0", "number(rope.rope_theta)"}  # the last is decimal
