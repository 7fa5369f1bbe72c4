"""The two limits of the machine, measured in the same run as the engines: memory bandwidth and matrix multiplication.

Decode reads every weight once for each token, so bandwidth is its limit. Prefill multiplies matrices, so their speed
is its limit (the roofline model: Williams, Waterman, Patterson, CACM 52(4), 2009). `python -m
minillm.benchmark.machine DTYPE` answers each request with both; it is a separate process, like every engine.
"""

from typing import Any

import numpy as np

from minillm.benchmark.engine_loop import Answer, answer_requests
from minillm.benchmark.timing import seconds


def bandwidth_bytes_per_s(dtype: np.dtype[Any]) -> float:
    """Measure the bytes per second of one matrix-vector product of 256 MB: too large for any processor's caches."""
    matrix, vector = np.ones((576, 268_435_456 // 576 // dtype.itemsize), dtype), np.ones(576, dtype)
    return matrix.nbytes / min(seconds(lambda: vector @ matrix) for _ in range(5))


def matmul_flops_per_s(dtype: np.dtype[Any]) -> float:
    """Measure the floating-point operations per second of one large matrix product."""
    n = 1536
    matrix = np.ones((n, n), dtype)
    return 2 * n**3 / min(seconds(lambda: matrix @ matrix) for _ in range(3))


def load(dtype_name: str) -> Answer:
    """Return the function that answers requests; there is no model to load."""
    dtype = np.dtype(dtype_name)
    return lambda request: {"bandwidth": bandwidth_bytes_per_s(dtype), "matmul": matmul_flops_per_s(dtype)}


if __name__ == "__main__":
    answer_requests(load)
