"""What rounding weights loses: measured on a model, and computed for normally distributed weights."""

from functools import cache
from typing import Any

LARGEST = 8_000  # tokens of a vocabulary that the exact backend computes with in seconds; larger models use numpy


@cache
def losses(model: str, tokens: int) -> dict[str, Any]:
    """Return the Accuracy of a model in each format, over a text that the model itself has written.

    On the exact backend, the figures are the same on every machine.
    """
    from minillm.evidence.quantization import compare_accuracy
    from minillm.generation import generate
    from minillm.loading import open_config
    from minillm.loading.load import load
    from minillm.sampling import Sampling

    backend = "exact" if open_config(model).vocab_size <= LARGEST else "numpy"
    models = {weights: load(model, backend, weights=weights) for weights in ("float32", "bfloat16", "int8", "int4")}
    sampling = Sampling(1.0, seed=0, ignore_eos=True)
    text = generate(models["float32"], "Once upon a time there was a", tokens, sampling).tokens
    return compare_accuracy(models, text)


def signal_to_error(bits: int) -> float:
    """Return the decibels between normally distributed weights and the error of rounding them to `bits` bits."""
    import numpy as np

    weights = np.random.default_rng(0).normal(size=(4096, 32))
    scale = np.abs(weights).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    error = np.round(weights / scale) * scale - weights
    return float(10 * np.log10((weights**2).mean() / (error**2).mean()))
