"""Products: rows times a matrix in tiles, plus a bias, plus the residual stream.

One row (decode) reads each weight once. It is limited by memory, so nothing is stored in between:

    for tile:                                 32 outputs, on any thread
        for group of 32 inputs:               load 32 scales
            for i in group:                   weights = 32 numbers * scales
                sums += x[i] * weights        4 registers of 8 sums

Many rows (prefill, batches) are limited by arithmetic. The weights are unpacked once into a small buffer, which stays
in the L1 cache while all rows use it:

    for tile, and for each 192 rows:          one item
        for chunk of 128 inputs:              unpack 128 x 32 weights: 16 KB
            for panel of 16 outputs:
                for block of 6 rows:          see blocks.py
                    sums += x[rows, i] * buffer[panel, i]

Both compute the same: for each output, one multiply-add an input, in the order of inputs. The weights have been rounded
to float32 before. So a row has the same bits in both, and next to any other rows. Bias and residual are added at
the end; adding to the residual from the start would round every step at the residual's magnitude.

The naive twins are `Plain.linear` and `Plain.add_linear`.
"""

from typing import Any

import numpy as np

from minillm.backends.compiled.blocks import MOST_ROWS, add_rows
from minillm.backends.compiled.compiling import inlined, kernel
from minillm.backends.compiled.sharing import done_take_next, take, wait
from minillm.backends.compiled.vectors import load, multiply_add, number, splat, stack_array, store, zeros
from minillm.backends.compiled.weights import GROUP, LANES, TILE, ask_ahead, factor_row, unpack, weight_row

CHUNK = 128  # inputs, a multiple of a group
ROWS = 192  # rows of an item: their sums take 24 KB


@inlined
def one_row(x: Any, row: int, numbers: Any, scales: Any, minimums: Any, tile: int) -> Any:
    """Return the sums of one row for the 32 outputs of a tile."""
    inputs = x.shape[1]
    sums = zeros(x, TILE)
    for group in range((inputs + GROUP - 1) // GROUP):
        scale = factor_row(numbers, scales, tile, group)
        minimum = factor_row(numbers, minimums, tile, group)
        end = min(inputs, group * GROUP + GROUP)
        for eight in range(group * 4, end // 8):
            ask_ahead(numbers, tile, eight)
            for k in range(8):  # unrolled by the compiler, which loads an int4 word once for its 8 inputs
                weights = weight_row(numbers, scale, minimum, tile, eight, k)
                sums = multiply_add(splat(number(x, (row, 8 * eight + k)), TILE), weights, sums)
        for i in range(end - end % 8, end):
            weights = weight_row(numbers, scale, minimum, tile, i // 8, i % 8)
            sums = multiply_add(splat(number(x, (row, i)), TILE), weights, sums)
    return sums


@inlined
def many_rows(
    x: Any, start: int, rows: int, numbers: Any, scales: Any, minimums: Any, tile: int, buffer: Any, sums: Any
) -> None:
    """Write the sums of `rows` rows from `start` on, for the 32 outputs of a tile, to sums `[rows, 32]`."""
    for row in range(rows):
        store(sums, (row, 0), zeros(x, TILE))
    blocks = (rows + MOST_ROWS - 1) // MOST_ROWS
    for first in range(0, x.shape[1], CHUNK):
        inputs = min(x.shape[1] - first, CHUNK)
        unpack(numbers, scales, minimums, tile, first, first + inputs, buffer)
        for panel in range(TILE // LANES):
            for block in range(blocks):  # blocks of about equal size: 8 rows are 4 + 4, not 6 + 2
                row, end = rows * block // blocks, rows * (block + 1) // blocks
                add_rows(end - row, x, start + row, first, np.int64(0), inputs, buffer, panel, sums, row)


@inlined
def finish(sums: Any, bias: Any, residual: Any, out: Any, start: int, rows: int, tile: int) -> None:
    """Write sums (+ bias) (+ residual) to out. The last tile may have fewer than 32 outputs."""
    column = tile * TILE
    if column + TILE <= out.shape[1]:
        for row in range(rows):
            total = load(sums, (row, 0), TILE)
            if bias.size:
                total = total + load(bias, column, TILE)
            if residual.size:
                total = load(residual, (start + row, column), TILE) + total
            store(out, (start + row, column), total)
    else:
        for row in range(rows):
            for o in range(out.shape[1] - column):
                one = sums[row, o]
                if bias.size:
                    one = one + bias[column + o]
                if residual.size:
                    one = residual[start + row, column + o] + one
                out[start + row, column + o] = one


@kernel
def product_items(
    x: Any, numbers: Any, scales: Any, minimums: Any, bias: Any, residual: Any, out: Any, counters: Any, phase: int
) -> None:
    """Work through the items of a product: tiles, each with at most 192 rows."""
    buffer = stack_array(x, (2, 128, 16))  # [panels, CHUNK, LANES]
    sums = stack_array(x, (192, 32))  # [ROWS, TILE]
    parts = (x.shape[0] + ROWS - 1) // ROWS
    items = numbers.shape[0] * parts
    item = take(counters, phase)
    while item < items:
        tile, part = item // parts, item % parts
        start = x.shape[0] * part // parts
        rows = x.shape[0] * (part + 1) // parts - start
        if rows == 1:
            store(sums, (0, 0), one_row(x, start, numbers, scales, minimums, tile))
        else:
            many_rows(x, start, rows, numbers, scales, minimums, tile, buffer, sums)
        finish(sums, bias, residual, out, start, rows, tile)
        item = done_take_next(counters, phase)
    wait(counters, phase, items)


@kernel
def product(
    x: Any, numbers: Any, scales: Any, minimums: Any, bias: Any, residual: Any, out: Any, counters: Any
) -> None:
    """Write x @ weights (+ bias) (+ residual) to out.

    Args:
        x: `[rows, in]`, float32, or float64 with weights in float64.
        numbers, scales, minimums: the weights, see weights.py; scales and minimums that a format lacks are empty.
        bias: `[out]`, or empty.
        residual: `[rows, out]`, perhaps `out` itself, or empty.
        out: `[rows, out]`.
        counters: `new_counters(1)`.
    """
    product_items(x, numbers, scales, minimums, bias, residual, out, counters, np.int64(0))
