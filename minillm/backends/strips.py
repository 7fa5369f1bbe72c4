"""Products of a few rows: the matrix is multiplied strip by strip, so that nothing is copied.

OpenBLAS copies a matrix into an order of its own before it multiplies (Goto and van de Geijn, Anatomy of
High-Performance Matrix Multiplication, 2008, section 4), which for a few rows takes longer than the product. For
processors with AVX-512 it also has kernels that copy nothing, for products of at most a million multiplications. So the
matrix is cut into strips that lie together in memory, small enough for these kernels, and NumPy multiplies a whole
stack of them in one call. Batches and speculative decoding live from this.

The naive twin of everything here is `x @ weight`.
"""

from functools import cache

import numpy as np

from minillm.arrays import Array, Float
from minillm.backends.threads import share, thread_count

INPUTS = 32  # of a strip of a matrix `[inner, out]`: as many runs of memory are read side by side
OUTPUTS = 16  # of a strip of a matrix in the file's order, `[out, inner]`: what the kernel computes at once
NOT_COPIED = 1_000_000  # multiplications for which OpenBLAS copies nothing, and uses one thread
SHARED = 3_000_000  # from so many on, a product is worth sharing among threads


@cache
def copies_nothing() -> bool:
    """Whether this processor has those kernels."""
    return bool({"AVX512_SKX", "X86_V4"} & simd_extensions())  # AVX-512, as older and as newer NumPy calls it


def simd_extensions() -> set[str]:
    """What NumPy uses of this processor."""
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    return {*extensions.get("baseline", ()), *extensions.get("found", ())}


def fits_in_strips(rows: int, weight: Float[Array, "inner out"]) -> bool:
    """Whether a matrix can be cut into whole strips that the kernels take."""
    inner, out = weight.shape
    if weight.flags.c_contiguous:
        return inner % INPUTS == 0
    return weight.flags.f_contiguous and out % OUTPUTS == 0 and rows * inner * OUTPUTS <= NOT_COPIED


def multiply_in_strips(x: Float[Array, "rows inner"], weight: Float[Array, "inner out"]) -> Float[Array, "rows out"]:
    """x @ weight, if it `fits_in_strips`.

    No product in here wakes the threads of OpenBLAS: these go on looking for work for a while, at the expense of ours.
    """
    return _some_inputs_each(x, weight) if weight.flags.c_contiguous else _some_outputs_each(x, weight.T)


def _some_inputs_each(x: Float[Array, "rows inner"], weight: Float[Array, "inner out"]) -> Float[Array, "rows out"]:
    """A strip is 32 rows of the matrix. Its product with the same columns of x is a part of every output.

    Each thread adds up the products of its strips. One that is too wide for the kernel is cut into blocks of columns.
    """
    (rows, inner), out = x.shape, weight.shape[1]
    x = x.reshape(rows, inner // INPUTS, INPUTS).transpose(1, 0, 2)  # [strips, rows, 32]
    weight = weight.reshape(inner // INPUTS, INPUTS, out)  # [strips, 32, out]
    threads, blocks = _threads(rows, inner, out), -(-out // (NOT_COPIED // (rows * INPUTS)))
    sums = np.empty((threads, rows, out), x.dtype)

    def add_up(number: int) -> None:
        block, thread = divmod(number, threads)
        strips, columns = _part(len(x), thread, threads), _part(out, block, blocks)
        np.add.reduce(x[strips] @ weight[strips, :, columns], axis=0, out=sums[thread, :, columns])

    share(add_up, blocks * threads)
    return np.add.reduce(sums, axis=0)


def _some_outputs_each(x: Float[Array, "rows inner"], weight: Float[Array, "out inner"]) -> Float[Array, "rows out"]:
    """A strip is 16 rows of the matrix as it lies in the file, and gives 16 outputs."""
    (rows, inner), out = x.shape, len(weight)
    strips = weight.reshape(out // OUTPUTS, OUTPUTS, inner).transpose(0, 2, 1)  # [strips, inner, 16]
    product = np.empty((rows, len(strips), OUTPUTS), x.dtype)
    threads = _threads(rows, inner, out)

    def multiply(thread: int) -> None:
        some = _part(len(strips), thread, threads)
        np.matmul(x, strips[some], out=product[:, some].transpose(1, 0, 2))

    share(multiply, threads)
    return product.reshape(rows, out)


def _threads(rows: int, inner: int, out: int) -> int:
    return thread_count() if rows * inner * out >= SHARED else 1


def _part(whole: int, number: int, parts: int) -> slice:
    """One of so many neighbouring pieces of about the same size."""
    return slice(whole * number // parts, whole * (number + 1) // parts)
