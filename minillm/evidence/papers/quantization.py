"""Figures of papers on quantisation, checked on the engine's own formats where it has them."""

import numpy as np

from minillm.evidence.papers.ledger import FORMULA, Kind, Ours, Topic, listed

topic = Topic()
INT8, INT4 = "Dettmers et al., LLM.int8(), 2208.07339", "Dettmers, Zettlemoyer, 2212.09720"
BFLOAT16 = "Kalamkar et al., 1905.12322"


@topic.figure(
    "int8-half-step",
    INT8,
    "absmax quantisation: x is scaled by 127 / max|x| and rounded, so errors are at most half a step",
)
def int8_half_step() -> Ours:
    """Round 1,000 random rows with the engine's int8, and compare every error with half of its group's scale."""
    from minillm.quantization import GROUP, Int8

    values = np.random.default_rng(0).standard_t(3, (1000, 64)).astype(np.float32)
    rounded = Int8.of(values)
    steps = np.repeat(rounded.scales.astype(np.float32), GROUP, axis=1)
    largest = float((np.abs(rounded.dequantize() - values) / steps).max())
    beyond = 127 * 2.0**-11  # steps: a scale is a float16
    return Ours(f"at most {largest:.2f} steps", largest <= 0.5 + beyond, f"{FORMULA}, up to the rounding of the scale")


@topic.figure(
    "int8-outliers", INT8, "columns with outliers stay in float, all others are multiplied in int8", Kind.TREND
)
def int8_outliers() -> Ours:
    """Multiply with three input columns 60 times as large: by int8 rows and columns, and with these columns in float.

    The product is c_x · c_w / 127² times that of the integers; for comparison, a scale for 32 inputs.
    """
    random = np.random.default_rng(0)
    x, w = random.normal(size=(64, 256)), random.normal(size=(256, 64))
    x[:, [20, 100, 200]] *= 60
    outliers = np.abs(x).max(axis=0) >= 6 * np.median(np.abs(x).max(axis=0))
    mixed = _int8_product(x[:, ~outliers], w[~outliers]) + x[:, outliers] @ w[outliers]
    in_groups = sum(_int8_product(x[:, i : i + 32], w[i : i + 32]) for i in range(0, 256, 32))
    plain, split, grouped = (float(np.abs(each - x @ w).mean()) for each in (_int8_product(x, w), mixed, in_groups))
    return Ours(
        f"{plain / split:.0f} times smaller; with a scale for 32 inputs {plain / grouped:.1f} times",
        plain > 10 * split,
        "direction, on random numbers; the engine rounds weights alone, so outliers of its inputs stay in float",
    )


def _int8_product(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return x @ w by way of int8: a scale for each row of x and each column of w."""
    rows, columns = np.abs(x).max(axis=1, keepdims=True), np.abs(w).max(axis=0, keepdims=True)
    integers = np.rint(127 * x / rows).astype(np.int32) @ np.rint(127 * w / columns).astype(np.int32)
    return integers * rows * columns / 127**2


@topic.figure("int4-bits", INT4, "a 16-bit constant for each block of 64 weights adds 0.25 bits a weight")
def int4_bits() -> Ours:
    """Add the bits: 16 / 64; and count those of the engine's formats, which have blocks of 32."""
    from minillm.quantization import quantize

    values = np.zeros((4, 256), np.float32)
    ours = [8 * quantize(values, weights).nbytes / values.size for weights in ("int8", "int4")]
    return Ours(f"{16 / 64:g}; the engine's int8 and int4 take {listed(ours, 1)}", ours == [8.5, 5.0], FORMULA)


@topic.figure("int4-blocks", INT4, "in 4 bits, smaller blocks are more accurate", Kind.TREND)
def int4_blocks() -> Ours:
    """Round weights of which one in 500 is ten times as large to 4 bits, with a scale and a minimum for each block."""
    random = np.random.default_rng(0)
    weights = random.normal(size=2**18) * np.where(random.random(2**18) < 1 / 500, 10, 1)
    decibels = []
    for block in (1024, 256, 64, 32):
        blocks = weights.reshape(-1, block)
        least = blocks.min(axis=1, keepdims=True)
        step = (blocks.max(axis=1, keepdims=True) - least) / 15
        error = np.rint((blocks - least) / step) * step + least - blocks
        decibels.append(float(10 * np.log10((blocks**2).mean() / (error**2).mean())))
    return Ours(
        f"blocks of 1,024, 256, 64, 32: {listed(decibels, 1)} dB",
        decibels == sorted(decibels) and decibels[-1] > decibels[0] + 3,
        "direction: signal to rounding error on random weights",
    )


@topic.figure(
    "int4-loss", INT4, "with fewer bits a weight, the model predicts worse; 8 bits lose almost nothing", Kind.TREND
)
def int4_loss() -> Ours:
    """Compare what story predicts in a text of its own, with its weights in 16, 8 and 4 bits, on the exact backend."""
    from minillm.evidence.claims.losses import losses

    found = [losses("story", 120)[weights].kl_divergence for weights in ("bfloat16", "int8", "int4")]
    return Ours(
        f"KL in bfloat16, int8, int4: {', '.join(f'{each:.2g}' for each in found)} nats",
        found == sorted(found) and found[1] < 0.01 < found[2],
        "ordering, with story; `minillm quantize compare` measures any model",
    )


@topic.figure("bfloat16-range", BFLOAT16, "the exponent of float32, and 7 bits of fraction: relative errors up to 2^-8")
def bfloat16_range() -> Ours:
    """Round random numbers of all magnitudes with the engine's bfloat16."""
    from minillm.quantization import Bfloat16

    random = np.random.default_rng(0)
    values = (random.uniform(1, 2, 100_000) * 2.0 ** random.integers(-126, 127, 100_000)).astype(np.float32)[None]
    largest = float((np.abs(Bfloat16.of(values).dequantize() - values) / values).max() * 2**8)
    return Ours(f"at most {largest:.3f} · 2^-8", 0.9 < largest <= 1, FORMULA)


topic.quote(
    "int8-emergence", INT8, "outliers in all layers from about 6.7B parameters on; over 99.9% of values in 8 bits",
    "measured on their models",
)  # fmt: skip
topic.quote("gptq-opt", "Frantar et al., GPTQ, 2210.17323", "OPT-175B, WikiText2: 8.34 -> 8.37 in 4 bits, 8.68 in 3",
            "measured on their models; the engine rounds to the nearest and needs no data")  # fmt: skip
