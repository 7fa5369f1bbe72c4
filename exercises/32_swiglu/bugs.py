"""Wrong answers to `swiglu`."""

import numpy as np


def _sigmoid(x):
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def sigmoid_only(gate, up):
    """The gate is sigmoid(x) alone (GLU): silu also multiplies it by x."""
    return _sigmoid(gate) * up


def curve_on_up(gate, up):
    """The curve was applied to `up`: it belongs to the gate."""
    return gate * up * _sigmoid(up)


def curve_on_both(gate, up):
    """The curve was applied to both: `up` is multiplied as it is."""
    return gate * _sigmoid(gate) * up * _sigmoid(up)


def relu(gate, up):
    """That is ReLU: it cuts negative gates off at 0. silu is smooth, and slightly negative below 0."""
    return np.maximum(gate, 0) * up


def gelu(gate, up):
    """That is GELU's approximation, x * sigmoid(1.702 x): silu has no factor inside."""
    return gate * _sigmoid(1.702 * gate) * up


def no_curve(gate, up):
    """The gate has no curve: compute silu of it first."""
    return gate * up


def added(gate, up):
    """The two were added: the gate multiplies `up`."""
    return gate * _sigmoid(gate) + up


def wrong_sign(gate, up):
    """exp(x) stands where exp(-x) belongs, so the gate closes where it should open."""
    return gate * _sigmoid(-gate) * up


def gate_left_out(gate, up):
    """`up` was not multiplied: the result is silu(gate) * up."""
    return gate * _sigmoid(gate)


def overflows(gate, up):
    """exp of a large gate overflows, and inf / inf is NaN: use exp(-|gate|)."""
    exponentials = np.exp(gate)
    return gate * exponentials / (1 + exponentials) * up
