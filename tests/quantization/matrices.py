"""Matrices whose groups are of every kind that could embarrass a format: zeros, equal, tiny, huge, negative weights."""

import numpy as np
from hypothesis import strategies as st

from minillm.quantization import CLASSES, GROUP, quantize
from minillm.quantization.quantized import Quantized

FORMATS = sorted(CLASSES)
INNER = [1, 20, 32, 33, 64, 100]
KINDS = {
    "normal": lambda random, size: random.normal(size=size),
    "zeros": lambda random, size: np.zeros(size),
    "equal": lambda random, size: np.full(size, random.normal()),
    "one outlier": lambda random, size: np.where(np.arange(size) == size // 2, 1000.0, random.normal(size=size)),
    "negative": lambda random, size: -1 - random.random(size),
    "far from zero": lambda random, size: 1000 + 1e-3 * random.normal(size=size),
    "huge": lambda random, size: random.uniform(-60_000, 60_000, size),
    "near float16's smallest": lambda random, size: 1e-6 * random.normal(size=size),
    "below float16's smallest": lambda random, size: 1e-11 * random.normal(size=size),
    "near float32's smallest": lambda random, size: 1e-42 * random.normal(size=size),
}


@st.composite
def matrices(draw, inner: int | None = None, dtype: str = "float32") -> np.ndarray:
    """`[out, inner]`; each row has one kind of weights, or a different kind in each group."""
    inner = draw(st.sampled_from(INNER)) if inner is None else inner
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
        groups = [KINDS[kinds[n % len(kinds)]](random, GROUP) for n in range(-(-inner // GROUP))]
        rows.append(np.concatenate(groups)[:inner])
    return np.array(rows).astype(dtype)


@st.composite
def quantised(draw, inner: int | None = None) -> Quantized:
    return quantize(draw(matrices(inner)), draw(st.sampled_from(FORMATS)))
