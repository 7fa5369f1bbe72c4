"""int8: weights in 8 bits, back to floats, and how large the error can be.

Where the engine does it: `Int8` in minillm/quantization/int8.py for weights, and `quantize` in minillm/kv_cache/int8.py
for keys and values (Dettmers et al., LLM.int8(), 2208.07339, section 2). The weights of a group share a scale, so an
outlier costs precision in its own group only. docs/quantization.md. Article: Optimization Strategies, 1.
"""

# %% learner
import numpy as np


def int8_round_trip(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Round each group of weights to int8, restore the floats, and return a bound of the error.

    groups: [groups, size], float64.
    returns: (numbers, scales, restored, bound).
        numbers [groups, size], int8, from -127 to 127: the nearest multiple of the group's scale.
        scales [groups], float64: the largest |weight| of the group, divided by 127. A group of zeros has scale 0, and
            its numbers are 0. Do not divide by 0: NaN converted to int8 is a different number on each processor.
        restored [groups, size], float64: number * scale.
        bound [groups], float64: the largest error that any weight of such a group can have: half a scale.
    """
    # %% solution
    scales = np.abs(groups).max(axis=-1) / 127  # [groups]
    steps = np.where(scales == 0, 1.0, scales)[:, None]  # a group of zeros is divided by 1
    numbers = np.rint(groups / steps).astype(np.int8)
    return numbers, scales, numbers * scales[:, None], scales / 2


# %% hints
HINTS = (
    "The scale is the step between two neighbouring numbers. The largest weight becomes 127 or -127, and every weight "
    "goes to the nearest step. So no weight moves by more than half a step.",
    "scales and bound are [groups]. With [:, None] a scale is [groups, 1], so it broadcasts along its group.",
    "1. scale = largest |weight| / 127. 2. Divide each weight by its scale, or by 1 if the scale is 0. 3. Round with "
    "np.rint, then convert to int8. 4. number * scale. 5. scale / 2.",
    "numbers = np.rint(groups / steps).astype(np.int8)",
)


# %% harness
def call(function, groups):
    """Call it so that a division by 0 is an error, because its result depends on the processor."""
    import numpy

    with numpy.errstate(invalid="raise", divide="raise"):
        return function(groups)


# %% check
LESSON = 14
CONCEPTS = ("quantization",)


def cases(random):
    yield {"groups": np.array([[127.0]])}
    yield {"groups": np.array([[-1.27, 0.31]])}
    yield {"groups": np.array([[1.27, 0.319]])}  # 31.9 steps: truncating gives 31
    yield {"groups": np.array([[0.0, 0.0]])}
    yield {"groups": np.array([[1.27, -0.02], [127.0, 1.0]])}
    yield {"groups": np.array([[0.5, -2.0, 1.0], [0.0, 0.0, 0.0], [3.0, 0.25, -1.5]])}
    for groups, size in ((2, 3), (3, 4), (4, 8)):
        yield {"groups": random.normal(size=(groups, size)) * 10.0 ** random.integers(-2, 3, (groups, 1))}


def error_is_within_the_bound(inputs, result, run):
    """No weight may differ from the restored one by more than the bound of its group."""
    _, _, restored, bound = result
    return bool((np.abs(restored - inputs["groups"]) <= bound[:, None] * (1 + 1e-9)).all())


def restored_again_is_equal(inputs, result, run):
    """The restored weights, rounded again, give the same numbers."""
    return np.array_equal(run(groups=result[2])[0], result[0])


def negative_weights_give_negative_numbers(inputs, result, run):
    """The negative of all weights gives the negative of all numbers, and the same scales."""
    negative = run(groups=-inputs["groups"])
    return np.array_equal(negative[0], -result[0]) and np.allclose(negative[1], result[1])


PROPERTIES = (error_is_within_the_bound, restored_again_is_equal, negative_weights_give_negative_numbers)


def plug(function):
    """It rounds keys and values: `minillm generate --kv-cache int8 --with DIR`. The engine's scales are float32."""

    def quantize(rows):
        numbers, scales, _, _ = function(rows.reshape(-1, rows.shape[-1]).astype(np.float64))
        return numbers.reshape(rows.shape), scales.reshape(rows.shape[:-1]).astype(np.float32)

    return {"minillm.kv_cache.int8.quantize": quantize}
