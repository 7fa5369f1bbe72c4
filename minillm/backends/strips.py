"""Products of a few rows with a weight matrix, one weight strip at a time, so that the matrix is never copied.

OpenBLAS copies a matrix into its own order before it multiplies (Goto and van de Geijn, Anatomy of High-Performance
Matrix Multiplication, 2008, section 4). For a few rows the copy takes longer than the product. On processors with
AVX-512 OpenBLAS also has kernels that copy nothing, for products of at most a million multiplications. So the matrix
is cut into *weight strips* that are small enough for these kernels. A strip is contiguous in memory, and NumPy
multiplies a whole stack of strips in one call. Batching and speculative decoding depend on this.

    [inner, out], row by row: a strip is 32 inputs        [out, inner], row by row: a strip is 16 outputs
    x [rows, 32] @ strip [32, out]                        x [rows, inner] @ strip.T [inner, 16]
    = one term of every output                            = 16 finished outputs

The naive twin of everything here is `x @ weight`.
"""

from functools import cache

import numpy as np

from minillm.arrays import Array, Float
from minillm.backends.threads import nth_slice, run_tasks, thread_count

INPUTS = 32  # rows of a strip of a matrix `[inner, out]`: 32 contiguous rows are read at the same time
OUTPUTS = 16  # rows of a strip of a matrix in the file's order, `[out, inner]`: the kernel computes 16 outputs at once
NOT_COPIED = 1_000_000  # multiplications up to which OpenBLAS copies nothing and uses one thread
THREADED = 3_000_000  # multiplications from which a product is faster on several threads


@cache
def copies_nothing() -> bool:
    """Return whether OpenBLAS has kernels for this processor that copy nothing."""
    return bool({"AVX512_SKX", "X86_V4"} & simd_extensions())  # AVX-512 in older and in newer NumPy


def simd_extensions() -> set[str]:
    """Return the names of the instruction sets of this processor that NumPy uses."""
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    return {*extensions.get("baseline", ()), *extensions.get("found", ())}


def fits_in_strips(rows: int, weight: Float[Array, "inner out"]) -> bool:
    """Return whether the matrix can be cut into strips of full size that the kernels accept."""
    inner, out = weight.shape
    if weight.flags.c_contiguous:
        return inner % INPUTS == 0
    return weight.flags.f_contiguous and out % OUTPUTS == 0 and rows * inner * OUTPUTS <= NOT_COPIED


def multiply_in_strips(x: Float[Array, "rows inner"], weight: Float[Array, "inner out"]) -> Float[Array, "rows out"]:
    """Return x @ weight for a matrix that `fits_in_strips`.

    No product here wakes the threads of OpenBLAS. Once awake, they look for work for a while and slow ours down.
    """
    return _strips_of_inputs(x, weight) if weight.flags.c_contiguous else _strips_of_outputs(x, weight.T)


def _strips_of_inputs(x: Float[Array, "rows inner"], weight: Float[Array, "inner out"]) -> Float[Array, "rows out"]:
    """Multiply strips of 32 rows of the matrix with the matching 32 columns of x, and add up the products.

    Each thread adds up the products of its own strips. A strip that is too wide for the kernel is cut into column
    ranges.
    """
    (rows, inner), out = x.shape, weight.shape[1]
    x = x.reshape(rows, inner // INPUTS, INPUTS).transpose(1, 0, 2)  # [strips, rows, 32]
    weight = weight.reshape(inner // INPUTS, INPUTS, out)  # [strips, 32, out]
    threads, ranges = _threads(rows, inner, out), -(-out // (NOT_COPIED // (rows * INPUTS)))
    sums = np.empty((threads, rows, out), x.dtype)

    def add_up(number: int) -> None:
        column_range, thread = divmod(number, threads)
        strips, columns = nth_slice(len(x), thread, threads), nth_slice(out, column_range, ranges)
        np.add.reduce(x[strips] @ weight[strips, :, columns], axis=0, out=sums[thread, :, columns])

    run_tasks(add_up, ranges * threads)
    return np.add.reduce(sums, axis=0)


def _strips_of_outputs(x: Float[Array, "rows inner"], weight: Float[Array, "out inner"]) -> Float[Array, "rows out"]:
    """Multiply x with strips of 16 rows of the matrix in the file's order. Each strip gives 16 outputs."""
    (rows, inner), out = x.shape, len(weight)
    strips = weight.reshape(out // OUTPUTS, OUTPUTS, inner).transpose(0, 2, 1)  # [strips, inner, 16]
    product = np.empty((rows, len(strips), OUTPUTS), x.dtype)
    threads = _threads(rows, inner, out)

    def multiply(thread: int) -> None:
        own = nth_slice(len(strips), thread, threads)
        np.matmul(x, strips[own], out=product[:, own].transpose(1, 0, 2))

    run_tasks(multiply, threads)
    return product.reshape(rows, out)


def _threads(rows: int, inner: int, out: int) -> int:
    return thread_count() if rows * inner * out >= THREADED else 1
