"""SwiGLU: the curve and the gate in the middle of an MLP.

Where the engine does it: `swiglu` in minillm/layers.py (Shazeer, 2002.05202). A layer multiplies each token by two
matrices. One product, the gate, says how much of each number of the other product, `up`, goes on. Without a curve the
matrices of an MLP would be one matrix. Article: Attention Mechanism.
"""

# %% learner
import numpy as np


def swiglu(gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return silu(gate) * up, with silu(x) = x * sigmoid(x) = x / (1 + exp(-x)).

    gate, up: [tokens, inner], float64. A number may be large: 1000 or -1000. The result must be finite all the same.
    returns: [tokens, inner], float64.
    """
    # %% solution
    decay = np.exp(-np.abs(gate))  # from 0 to 1, so it never overflows
    sigmoid = np.where(gate >= 0, 1.0, decay) / (1.0 + decay)
    return gate * sigmoid * up


# %% hints
HINTS = (
    "sigmoid(x) is between 0 and 1. For a large x it is 1, so silu(x) is x. For a very negative x it is 0. "
    "1 / (1 + exp(-x)) and exp(x) / (1 + exp(x)) are equal: choose for each number the one whose exp cannot overflow.",
    "Everything is [tokens, inner], number by number. There is no sum and no matrix product.",
    "1. decay = exp(-|gate|). 2. sigmoid = 1 / (1 + decay) where gate >= 0, else decay / (1 + decay). 3. gate * "
    "sigmoid * up.",
    "sigmoid = np.where(gate >= 0, 1.0, decay) / (1.0 + decay)",
)


# %% check
LESSON = 4
CONCEPTS = ("layers", "mlp")


def cases(random):
    for gate, up in (
        ([1.0], [1.0]), ([0.0], [3.0]), ([-1.0], [2.0]), ([2.0], [-3.0]), ([1000.0], [2.0]), ([-1000.0], [2.0]),
        ([1.0, -2.0], [0.5, 3.0]),
    ):  # fmt: skip
        yield {"gate": np.array([gate]), "up": np.array([up])}
    for tokens, inner in ((2, 3), (3, 4), (4, 2)):
        gate, up = random.normal(size=(2, tokens, inner))
        yield {"gate": 3 * gate, "up": up}


def up_is_only_scaled(inputs, result, run):
    """Twice the `up` gives twice the result."""
    return np.allclose(run(up=2 * inputs["up"]), 2 * result)


def a_gate_and_its_negative(inputs, result, run):
    """silu(x) - silu(-x) = x: so the result minus that of the negative gate is gate * up."""
    return np.allclose(result - run(gate=-inputs["gate"]), inputs["gate"] * inputs["up"])


PROPERTIES = (up_is_only_scaled, a_gate_and_its_negative)


def engine(gate, up):
    from minillm.layers import swiglu

    return swiglu(gate, up)


def plug(function):
    return {"minillm.layers.swiglu": function}
