"""Lanes: sums and maxima over the lanes of a vector, and blocks whose rows become lanes."""

from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

I32 = ir.IntType(32)


def _lanes(builder: Any, vector: Any, chosen: Any) -> Any:
    mask = ir.Constant(ir.VectorType(I32, len(chosen)), list(chosen))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def _halve(builder: Any, vector: Any, combine: Any) -> Any:
    """Combine the upper half of the lanes with the lower half until one lane is left."""
    while vector.type.count > 1:
        half = vector.type.count // 2
        vector = combine(_lanes(builder, vector, range(half)), _lanes(builder, vector, range(half, 2 * half)))
    return builder.extract_element(vector, I32(0))


@intrinsic
def lane_sum(_: Any, vector: Any) -> Any:
    """Return the sum of the lanes, added as a tree: lane 0 and 8, 1 and 9, ...; then 0 and 4, ... for 16 lanes."""

    def emit(_: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _halve(builder, args[0], builder.fadd)

    return vector.dtype(vector), emit


@intrinsic
def lane_max(_: Any, vector: Any) -> Any:
    """Return the largest lane."""

    def emit(_: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _halve(builder, args[0], lambda a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))

    return vector.dtype(vector), emit


@intrinsic
def transpose(_: Any, block: Any) -> Any:
    """Return the block with rows and lanes swapped; both are 8, or another power of two.

    Each step doubles the size of the squares that are already transposed: it swaps the upper right part of every
    square of 2, then 4, then 8 with its lower left part. 24 instructions move 64 numbers:

        a b | c d        a e | c g        a e | i m
        e f | g h   ->   b f | d h   ->   b f | j n
        ----+----        ----+----        ----+----
        i j | k l        i m | k o        c g | k o
        m n | o p        j n | l p        d h | l p
    """
    size = block.rows

    def emit(_: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = [builder.extract_value(args[0], row) for row in range(size)]
        step = 1
        while step < size:
            kept = [lane + size - step if lane & step else lane for lane in range(size)]
            moved = [lane + size if lane & step else lane + step for lane in range(size)]
            for row in range(size):
                if not row & step:
                    pair = rows[row], rows[row + step]
                    for place, chosen in ((row, kept), (row + step, moved)):
                        mask = ir.Constant(ir.VectorType(I32, size), chosen)
                        rows[place] = builder.shuffle_vector(*pair, mask)
            step *= 2
        result = args[0]
        for row in range(size):
            result = builder.insert_value(result, rows[row], row)
        return result

    return block(block), emit
