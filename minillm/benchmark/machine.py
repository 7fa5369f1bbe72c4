"""The two limits of the machine, measured in the same run as the engine: memory bandwidth and matrix multiplication.

Decode reads every weight once for each token, so bandwidth is its limit; prefill multiplies matrices, so their speed
is its limit (the roofline model: Williams, Waterman, Patterson, CACM 52(4), 2009).
"""

import resource
import sys

import numpy as np

from minillm.benchmark.timing import seconds


def matrix_vector_bytes_per_s() -> float:
    """Bytes per second of one large float32 matrix-vector product, 256 MB: too large for any processor's caches."""
    matrix, vector = np.ones((576, 116_508), np.float32), np.ones(576, np.float32)
    return matrix.nbytes / min(seconds(lambda: vector @ matrix) for _ in range(3))


def matrix_multiply_flops() -> float:
    """Floating-point operations per second of one large float32 matrix product."""
    n = 1536
    matrix = np.ones((n, n), np.float32)
    return 2 * n**3 / min(seconds(lambda: matrix @ matrix) for _ in range(3))


def peak_memory_bytes() -> int:
    """The most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, kilobytes on Linux
