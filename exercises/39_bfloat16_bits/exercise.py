"""bfloat16 by its bits: the upper half of a float32, correctly rounded.

Where the engine does it: `Bfloat16` in minillm/quantization/bfloat16.py (Kalamkar et al., 1905.12322). A float32 has a
sign, 8 bits of exponent and 23 of fraction. A bfloat16 has the same sign and exponent, and the first 7 bits of the
fraction. docs/quantization.md. Article: Optimization Strategies, 1.
"""

# %% learner
import numpy as np


def bfloat16_bits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round float32 numbers to the nearest bfloat16.

    values: [n], float32, finite, and not near the largest float32.
    returns: (bits, restored).
        bits [n], uint16: the bits of the bfloat16 that is nearest to each value. If two are equally near, the one whose
            last bit is 0 (round half to even).
        restored [n], float32: the numbers that these bits mean: the same bits, followed by 16 zero bits.
    """
    # %% solution
    whole = values.view(np.uint32)  # the same bits, as integers
    odd = (whole >> 16) & 1  # the last bit that stays
    bits = ((whole + 0x7FFF + odd) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)


# %% hints
HINTS = (
    "values.view(np.uint32) gives the bits of each float as an integer. Dropping the lower 16 bits rounds towards 0. "
    "Add something first, such that more than half carries into the upper 16 bits, and less than half does not.",
    "values is [n] in float32, bits is [n] in uint16. `view` reinterprets the bits; `astype` converts the number.",
    "1. view as uint32. 2. odd = bit 16, the last one that stays. 3. Add 0x7FFF + odd: exactly half carries only if "
    "odd is 1. 4. >> 16, as uint16. 5. Back: as uint32, << 16, view as float32.",
    "bits = ((whole + 0x7FFF + odd) >> 16).astype(np.uint16)",
)


# %% check
LESSON = 14
CONCEPTS = ("quantization",)


def cases(random):
    for numbers in (
        [1.0], [-2.0], [0.0], [1 + 2**-7], [1 + 2**-8], [1 + 3 * 2**-8], [1 + 2**-8 + 2**-23], [1 + 3 * 2**-10],
        [-1 - 3 * 2**-8], [1 + 3 * 2**-8 + 2**-23], [1 + 3 * 2**-8 - 2**-23], [1e30], [3.0e-39], [0.1, -0.1],
    ):  # fmt: skip
        yield {"values": np.array(numbers, np.float32)}
    for count in (4, 8, 16):
        yield {"values": (random.normal(size=count) * 10.0 ** random.integers(-9, 9, count)).astype(np.float32)}


def error_is_small(inputs, result, run):
    """A restored number differs by at most 2**-8 of the value, unless the value is extremely small."""
    values, restored = inputs["values"].astype(float), result[1].astype(float)
    return bool((np.abs(restored - values) <= np.abs(values) / 256 + 1e-40).all())


def restored_again_is_equal(inputs, result, run):
    """The restored numbers, rounded again, give the same bits."""
    return np.array_equal(run(values=result[1])[0], result[0])


def only_the_sign_changes(inputs, result, run):
    """The negative of a value has the same bits, except for the sign."""
    return np.array_equal(run(values=-inputs["values"])[0] ^ result[0], np.full(len(result[0]), 0x8000, np.uint16))


PROPERTIES = (error_is_small, restored_again_is_equal, only_the_sign_changes)


def engine(values):
    from minillm.quantization.bfloat16 import Bfloat16

    rounded = Bfloat16.of(values[None])
    return rounded.bits[0], rounded.dequantize()[0]


def plug(function):
    """It rounds the weights: `minillm generate --weights bfloat16 --with DIR`."""
    from minillm.quantization.bfloat16 import Bfloat16

    def of(values):
        bits, _ = function(np.ascontiguousarray(values, np.float32).ravel())
        return Bfloat16(bits.reshape(values.shape))

    return {"minillm.quantization.bfloat16.Bfloat16.of": of}
