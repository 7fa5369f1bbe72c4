"""A product with quantised weights, group by group, without the weights ever being floats in memory.

Where the engine does it: `multiply` in minillm/quantization/__init__.py, tile by tile. All weights of a group share a
scale, so the scale can be applied to the sum of a group. A decode step then reads one byte for each weight.
docs/quantization.md. Article: Optimization Strategies, 1.
"""

# %% learner
import numpy as np


def blockwise_product(x: np.ndarray, numbers: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return x times the transposed weights, where weight = number * scale of its group.

    x: [rows, groups, size], float64: each row is divided into groups.
    numbers: [out, groups, size], int8.
    scales: [out, groups], float64.
    returns: [rows, out], float64: the sum over the groups of (sum within the group of x * number) * scale.
    """
    # %% solution
    product = np.zeros((len(x), len(numbers)))
    for group in range(x.shape[1]):
        within = x[:, group] @ numbers[:, group].T  # [rows, out]
        product += within * scales[:, group]
    return product


# %% hints
HINTS = (
    "A sum of number * scale with one scale is scale * (sum of the numbers). So first add up within a group, multiply "
    "by the scale once, and then add up the groups.",
    "For one group: x[:, group] is [rows, size], numbers[:, group].T is [size, out], their product is [rows, out], and "
    "scales[:, group] is [out].",
    "1. Begin with zeros [rows, out]. 2. For each group: the product of its numbers. 3. Times the scales of this "
    "group. 4. Add it.",
    "within = x[:, group] @ numbers[:, group].T",
)


# %% check
LESSON = 14
CONCEPTS = ("quantization",)


def cases(random):
    for x, numbers, scales in (
        ([[[2.0]]], [[[3]]], [[0.5]]), ([[[2.0], [1.0]]], [[[3], [5]]], [[0.5, 2.0]]),
        ([[[2.0, 1.0]]], [[[100, 127]]], [[0.5]]), ([[[1.5]]], [[[2]], [[-3]]], [[1.0], [0.5]]),
        ([[[1.0], [2.0]], [[0.5], [4.0]]], [[[1], [2]], [[3], [-4]]], [[1.0, 0.5], [2.0, 0.25]]),
    ):  # fmt: skip
        yield {"x": np.array(x), "numbers": np.array(numbers, np.int8), "scales": np.array(scales)}
    for rows, out, groups, size in ((1, 2, 3, 2), (2, 3, 2, 4), (3, 2, 3, 4)):
        x = random.normal(size=(rows, groups, size))
        numbers = random.integers(-127, 128, (out, groups, size)).astype(np.int8)
        yield {"x": x, "numbers": numbers, "scales": random.uniform(0.01, 1.0, (out, groups))}


def it_is_dequantise_then_multiply(inputs, result, run):
    """The result is x @ weights.T with the weights number * scale."""
    weights = inputs["numbers"] * inputs["scales"][..., None]
    return np.allclose(result, np.tensordot(inputs["x"], weights, ([1, 2], [1, 2])))


def groups_add_up(inputs, result, run):
    """Without its first group (x = 0 there) the result lacks exactly the share of this group."""
    first, others = inputs["x"].copy(), inputs["x"].copy()
    first[:, 1:] = 0
    others[:, 0] = 0
    return np.allclose(run(x=first) + run(x=others), result)


PROPERTIES = (it_is_dequantise_then_multiply, groups_add_up)


def plug(function):
    """It multiplies by matrices in int8: `minillm generate --weights int8 --with DIR`. Others use the engine's own."""
    from minillm.quantization import Int8, multiply
    from minillm.quantization.quantized import GROUP

    def in_groups(array):
        padded = np.pad(array, ((0, 0), (0, -array.shape[1] % GROUP)))
        return padded.reshape(len(array), -1, GROUP)

    def one(x, matrix):
        if not isinstance(matrix, Int8):
            return multiply(x, [matrix])
        return function(in_groups(x), in_groups(matrix.numbers), matrix.scales.astype(np.float64)).astype(x.dtype)

    return {"minillm.quantization.multiply": lambda x, matrices: np.concatenate([one(x, m) for m in matrices], axis=1)}
