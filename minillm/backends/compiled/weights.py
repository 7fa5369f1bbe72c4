"""Weights in tiles: the order in which a product reads them, and what their bits mean.

Files store a matrix row by row, `[out, in]`: all inputs of output 0, then all of output 1. Here 32 outputs form a
*tile*, and a tile lies in memory input by input:

    numbers[tile, i, o]        o = 0   1   2  ...  31         weight of input i for output 32 * tile + o
                      i = 0    w   w   w  ...  w
                          1    w   w   w  ...  w     <- one weight row: 32 numbers in a line of memory
                          2    w   w   w  ...  w

One instruction then multiplies an input with 8 or 16 weights of *different* outputs. Their sums are in different lanes
and are never added to each other, so each sum has the order of its inputs. (Along a row of the file, one instruction
would compute 8 products of one output. Its 8 partial sums would have to be added at the end of each group.)

    format     numbers                                    scales, minimums            weight
    float32    float32 (or float64) [tiles, in, 32]       -                           number
    bfloat16   uint16 [tiles, in, 32]                     -                           upper half of a float32
    float16    int16 [tiles, in, 32]                      -                           float16
    int8       int8 [tiles, in, 32]                       uint16 [tiles, groups, 32]  number * scale
    int4       int32 [tiles, groups * 4, 32]              uint16 [tiles, groups, 32]  number * scale + minimum

A group is 32 inputs. Scales and minimums are the bits of float16 numbers; minimums may be float32. An int4 word holds
8 inputs, 4 bits each: input 8 * e + k is at bits 4 * k of word e. So a number is taken out with a shift and a mask, and
no instruction moves bytes between lanes.

The products of a number and a scale are exact in float32: 4 or 8 bits times 11 bits. So int8 weights are not rounded,
int4 weights once. They equal those of `minillm/quantization` bit by bit.
"""

from typing import Any

from numba import types
from numba.extending import overload

from minillm.backends.compiled.compiling import inlined
from minillm.backends.compiled.vectors import (
    as_float,
    bits_and,
    from_float16,
    load,
    multiply_add,
    part,
    prefetch,
    shift_left,
    shift_right,
    store,
    to_float32,
    widen,
)

TILE = 32  # outputs; with 64, the sums and scales of int4 need more registers than AVX2 has: 30% slower
GROUP = 32  # inputs that share a scale
AHEAD = 1024  # bytes
LANES = 16  # outputs of a panel, see blocks.py


def factor_row(numbers: Any, factors: Any, tile: int, group: int) -> Any:
    """Return the scales or minimums of a group in float32, one for each output of the tile. Floats have none."""


def ask_ahead(numbers: Any, tile: int, eight: int) -> None:
    """Ask for the numbers that come AHEAD bytes after those of 8 inputs, so that they arrive while these are used.

    Not for floats: the processor sees by itself that such a loop reads one line of memory after another. In smaller
    formats a loop takes longer over each line, and then waits for the next one. Measured: 10% of a decode step.
    """


def weight_row(numbers: Any, scale: Any, minimum: Any, tile: int, eight: int, k: int) -> Any:
    """Return the weights of input 8 * eight + k, one for each output of the tile."""


# One function for each format. numba chooses by the dtype of `numbers`, when it compiles.


@overload(ask_ahead, strict=False)
def _ask_ahead(numbers: Any, tile: Any, eight: Any) -> Any:
    if isinstance(numbers.dtype, types.Float):
        return lambda numbers, tile, eight: None
    itemsize = numbers.dtype.bitwidth // 8
    line, first = 64 // itemsize, AHEAD // itemsize
    rows = 1 if numbers.dtype == types.int32 else 8
    lines = rows * TILE // line

    def ask(numbers, tile, eight):  # type: ignore[no-untyped-def]
        for number in range(lines):
            prefetch(numbers, (tile, rows * eight, first + number * line))

    return ask


@overload(factor_row, strict=False)
def _factor_row(numbers: Any, factors: Any, tile: Any, group: Any) -> Any:
    if numbers.dtype not in (types.int8, types.int32):
        return lambda numbers, factors, tile, group: None
    if factors.dtype == types.uint16:
        return lambda numbers, factors, tile, group: from_float16(load(factors, (tile, group, 0), TILE))
    return lambda numbers, factors, tile, group: load(factors, (tile, group, 0), TILE)


def _floats(numbers, scale, minimum, tile, eight, k):  # type: ignore[no-untyped-def]
    return load(numbers, (tile, 8 * eight + k, 0), TILE)


def _bfloat16(numbers, scale, minimum, tile, eight, k):  # type: ignore[no-untyped-def]
    return as_float(shift_left(widen(load(numbers, (tile, 8 * eight + k, 0), TILE), 32), 16))


def _float16(numbers, scale, minimum, tile, eight, k):  # type: ignore[no-untyped-def]
    return from_float16(load(numbers, (tile, 8 * eight + k, 0), TILE))


def _int8(numbers, scale, minimum, tile, eight, k):  # type: ignore[no-untyped-def]
    return to_float32(widen(load(numbers, (tile, 8 * eight + k, 0), TILE), 32)) * scale


def _int4(numbers, scale, minimum, tile, eight, k):  # type: ignore[no-untyped-def]
    words = load(numbers, (tile, eight, 0), TILE)
    return multiply_add(to_float32(bits_and(shift_right(words, 4 * k), 15)), scale, minimum)


_WEIGHT_ROWS = {
    types.float32: _floats,
    types.float64: _floats,
    types.uint16: _bfloat16,
    types.int16: _float16,
    types.int8: _int8,
    types.int32: _int4,
}


@overload(weight_row, strict=False)
def _weight_row(numbers: Any, scale: Any, minimum: Any, tile: Any, eight: Any, k: Any) -> Any:
    return _WEIGHT_ROWS[numbers.dtype]


@inlined
def unpack(numbers: Any, scales: Any, minimums: Any, tile: int, first: int, end: int, buffer: Any) -> None:
    """Write the weights of inputs `first` to `end` as floats to buffer `[2, inputs, 16]`. `first` begins a group.

    A tile is unpacked once, and then serves all rows. The naive twin is `dequantize` of the format.
    """
    for group in range(first // GROUP, (end + GROUP - 1) // GROUP):
        scale = factor_row(numbers, scales, tile, group)
        minimum = factor_row(numbers, minimums, tile, group)
        stop = min(end, group * GROUP + GROUP)
        for eight in range(group * 4, stop // 8):
            ask_ahead(numbers, tile, eight)
            for k in range(8):
                weights = weight_row(numbers, scale, minimum, tile, eight, k)
                store(buffer, (0, 8 * eight + k - first, 0), part(weights, 0, LANES))
                store(buffer, (1, 8 * eight + k - first, 0), part(weights, LANES, LANES))
        for i in range(stop - stop % 8, stop):
            weights = weight_row(numbers, scale, minimum, tile, i // 8, i % 8)
            store(buffer, (0, i - first, 0), part(weights, 0, LANES))
            store(buffer, (1, i - first, 0), part(weights, LANES, LANES))
