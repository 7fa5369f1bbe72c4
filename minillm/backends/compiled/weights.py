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
    prefetch,
    shift_left,
    shift_right,
    store,
    to_float32,
    widen,
)

TILE = 32  # outputs; with 64, the sums and scales of int4 need more registers than AVX2 has: 30% slower
GROUP = 32  # inputs that share a scale
LINE = 64  # bytes of a cache line
LANES = 16  # outputs of a panel, see blocks.py


def factor_row(numbers: Any, factors: Any, tile: int, group: int, first: int, lanes: int) -> Any:
    """Return a group's scales or minimums in float32, for `lanes` outputs from `first` on. Floats have none."""


def lines_of(numbers: Any, eights: int) -> Any:
    """Return in how many cache lines, of 64 bytes each, the numbers of 8 * eights inputs of a tile lie."""


def ask_lines(numbers: Any, tile: int, first: int, end: int) -> None:
    """Ask for cache lines `first` to `end` of a tile. Those after its last one are of the next tile."""


def ask_ahead(numbers: Any, tile: int, eight: int, column: int, lanes: int, ahead: int) -> None:
    """Ask for the numbers that come `ahead` cache lines after those of 8 inputs: they arrive while these are used.

    A block of all 32 outputs asks for all of these lines; a block of 16 outputs, from `column` on, for half of them.

    Not for floats: the processor sees by itself that such a loop reads one line of memory after another. In smaller
    formats a loop takes longer over each line, and then waits for the next one. Measured: 10% of a decode step.
    """


def weight_row(numbers: Any, scale: Any, minimum: Any, at: tuple[int, int, int, int], lanes: int) -> Any:
    """Return the weights of an input, for `lanes` outputs. at: tile, eight, k (input 8 * eight + k), first output."""


# One function for each format. numba chooses by the dtype of `numbers`, when it compiles.


@overload(lines_of, strict=False)
def _lines_of(numbers: Any, eights: Any) -> Any:
    numbers_of_8 = TILE if numbers.dtype == types.int32 else 8 * TILE
    lines_of_8 = numbers_of_8 * numbers.dtype.bitwidth // 8 // LINE
    return lambda numbers, eights: eights * lines_of_8


@overload(ask_lines, strict=False)
def _ask_lines(numbers: Any, tile: Any, first: Any, end: Any) -> Any:
    in_line = LINE // (numbers.dtype.bitwidth // 8)

    def ask(numbers, tile, first, end):  # type: ignore[no-untyped-def]
        for line in range(first, end):
            prefetch(numbers, (tile, 0, line * in_line))

    return ask


@overload(ask_ahead, strict=False, prefer_literal=True)
def _ask_ahead(numbers: Any, tile: Any, eight: Any, column: Any, lanes: Any, ahead: Any) -> Any:
    if isinstance(numbers.dtype, types.Float):
        return lambda numbers, tile, eight, column, lanes, ahead: None
    itemsize = numbers.dtype.bitwidth // 8
    rows = 1 if numbers.dtype == types.int32 else 8
    in_line, outputs = LINE // itemsize, LINE // (rows * itemsize)
    lines = lanes.literal_value // outputs

    def ask(numbers, tile, eight, column, lanes, ahead):  # type: ignore[no-untyped-def]
        for line in range(lines):
            prefetch(numbers, (tile, rows * eight, (ahead + column // outputs + line) * in_line))

    return ask


@overload(factor_row, strict=False, prefer_literal=True)
def _factor_row(numbers: Any, factors: Any, tile: Any, group: Any, first: Any, lanes: Any) -> Any:
    if numbers.dtype not in (types.int8, types.int32):
        return lambda numbers, factors, tile, group, first, lanes: None
    if factors.dtype == types.uint16:
        return lambda numbers, factors, tile, group, first, lanes: from_float16(
            load(factors, (tile, group, first), lanes)
        )
    return lambda numbers, factors, tile, group, first, lanes: load(factors, (tile, group, first), lanes)


def _floats(numbers, scale, minimum, at, lanes):  # type: ignore[no-untyped-def]
    return load(numbers, (at[0], 8 * at[1] + at[2], at[3]), lanes)


def _bfloat16(numbers, scale, minimum, at, lanes):  # type: ignore[no-untyped-def]
    return as_float(shift_left(widen(load(numbers, (at[0], 8 * at[1] + at[2], at[3]), lanes), 32), 16))


def _float16(numbers, scale, minimum, at, lanes):  # type: ignore[no-untyped-def]
    return from_float16(load(numbers, (at[0], 8 * at[1] + at[2], at[3]), lanes))


def _int8(numbers, scale, minimum, at, lanes):  # type: ignore[no-untyped-def]
    return to_float32(widen(load(numbers, (at[0], 8 * at[1] + at[2], at[3]), lanes), 32)) * scale


def _int4(numbers, scale, minimum, at, lanes):  # type: ignore[no-untyped-def]
    words = load(numbers, (at[0], at[1], at[3]), lanes)
    return multiply_add(to_float32(bits_and(shift_right(words, 4 * at[2]), 15)), scale, minimum)


_WEIGHT_ROWS = {
    types.float32: _floats,
    types.float64: _floats,
    types.uint16: _bfloat16,
    types.int16: _float16,
    types.int8: _int8,
    types.int32: _int4,
}


@overload(weight_row, strict=False, prefer_literal=True)
def _weight_row(numbers: Any, scale: Any, minimum: Any, at: Any, lanes: Any) -> Any:
    return _WEIGHT_ROWS[numbers.dtype]


@inlined
def unpack(numbers: Any, scales: Any, minimums: Any, tile: int, first: int, end: int, buffer: Any) -> None:
    """Write the weights of inputs `first` to `end` as floats to buffer `[2, inputs, 16]`. `first` begins a group.

    A tile is unpacked once, and then serves all rows. The naive twin is `dequantize` of the format.
    """
    for group in range(first // GROUP, (end + GROUP - 1) // GROUP):
        stop = min(end, group * GROUP + GROUP)
        for panel in range(TILE // LANES):
            column = panel * LANES
            scale = factor_row(numbers, scales, tile, group, column, LANES)
            minimum = factor_row(numbers, minimums, tile, group, column, LANES)
            for eight in range(group * 4, stop // 8):
                for k in range(8):
                    weights = weight_row(numbers, scale, minimum, (tile, eight, k, column), LANES)
                    store(buffer, (panel, 8 * eight + k - first, 0), weights)
            for i in range(stop - stop % 8, stop):
                weights = weight_row(numbers, scale, minimum, (tile, i // 8, i % 8, column), LANES)
                store(buffer, (panel, i - first, 0), weights)
