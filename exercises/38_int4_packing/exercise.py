"""int4: two numbers in a byte, and the weights that they mean.

Where the engine does it: `pack` and `Int4.dequantize` in minillm/quantization/int4.py, in the layout of GGUF's Q4_1. A
processor has no 4-bit numbers. So a byte holds two of them, and every read of a weight unpacks one.
docs/quantization.md. Article: Optimization Strategies, 1.
"""

# %% learner
import numpy as np


def int4_packing(numbers: np.ndarray, scales: np.ndarray, minimums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pack the numbers of each group into bytes, and compute the weights from the bytes.

    numbers: [groups, size], uint8, each from 0 to 15; size is even (32 in a model).
    scales, minimums: [groups], float64.
    returns: (packed, weights).
        packed [groups, size / 2], uint8: byte j of a group has number j in its lower 4 bits, and number
            j + size / 2 in its upper 4 bits.
        weights [groups, size], float64: number * scale + minimum, in the order of the numbers.
    """
    # %% solution
    half = numbers.shape[1] // 2
    packed = numbers[:, :half] | numbers[:, half:] << 4
    unpacked = np.concatenate([packed & 15, packed >> 4], axis=1)  # [groups, size]
    return packed, unpacked * scales[:, None] + minimums[:, None]


# %% hints
HINTS = (
    "A byte is 16 * upper + lower. Moving a number 4 bits to the left multiplies it by 16, and & 15 keeps the lower 4 "
    "bits. The halves of a group are far apart, so that a loop can unpack 16 neighbours at a time.",
    "packed is [groups, size / 2]: numbers[:, :half] are the lower halves, numbers[:, half:] the upper ones. The "
    "unpacked numbers are [groups, size] again.",
    "1. packed = lower | upper << 4. 2. Unpack: packed & 15, then packed >> 4, one after the other along axis 1. 3. "
    "Times the scale of the group, plus its minimum.",
    "packed = numbers[:, :half] | numbers[:, half:] << 4",
)


# %% check
LESSON = 14
CONCEPTS = ("quantization",)


def cases(random):
    for numbers, scales, minimums in (
        ([[1, 2]], [1.0], [0.0]), ([[1, 2]], [0.5], [-3.0]), ([[15, 0]], [1.0], [0.0]), ([[1, 2, 3, 4]], [1.0], [0.0]),
        ([[1, 2, 3, 4]], [0.5], [-1.0]), ([[1, 2], [3, 4]], [1.0, 2.0], [0.0, -1.0]),
        ([[15, 15, 15, 15], [0, 7, 8, 1]], [0.25, 2.0], [1.0, -4.0]),
    ):  # fmt: skip
        yield {"numbers": np.array(numbers, np.uint8), "scales": np.array(scales), "minimums": np.array(minimums)}
    for groups, size in ((2, 6), (3, 8), (2, 32)):
        numbers = random.integers(0, 16, (groups, size)).astype(np.uint8)
        scales, minimums = random.normal(size=(2, groups))
        yield {"numbers": numbers, "scales": np.abs(scales), "minimums": minimums}


def half_as_many_bytes(inputs, result, run):
    """There are half as many bytes as numbers."""
    return 2 * result[0].size == inputs["numbers"].size


def the_numbers_come_back(inputs, result, run):
    """With scale 1 and minimum 0 the weights are the numbers."""
    ones = np.ones_like(inputs["scales"])
    return np.array_equal(run(scales=ones, minimums=0 * ones)[1], inputs["numbers"])


PROPERTIES = (half_as_many_bytes, the_numbers_come_back)


def engine(numbers, scales, minimums):
    from minillm.quantization.int4 import pack

    half = numbers.shape[1] // 2
    whole = np.zeros((len(numbers), 32), np.uint8)  # the engine's groups have 32 numbers
    whole[:, :half], whole[:, 16 : 16 + half] = numbers[:, :half], numbers[:, half:]
    return pack(whole)[:, :half], numbers * scales[:, None] + minimums[:, None]


def plug(function):
    """It packs the weights: `minillm generate --weights int4 --with DIR`."""

    def pack(numbers):
        zeros = np.zeros(numbers[..., 0].size)
        packed, _ = function(numbers.reshape(-1, numbers.shape[-1]), zeros, zeros)
        return packed.reshape(*numbers.shape[:-1], -1)

    return {"minillm.quantization.int4.pack": pack}
