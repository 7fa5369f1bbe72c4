"""Products: rows times a matrix in tiles, plus a bias, plus the residual stream.

One row (decode) reads each weight once, so nothing is stored in between:

    for tile:                                 32 outputs
        for group of 32 inputs:               load 32 scales
            for i in group:                   weights = 32 numbers * scales, in registers
                sums += x[i] * weights        4 registers of 8 sums

Up to 4 rows (verification of draft tokens) use the same loop. Each weight is unpacked once, and used for each row. The
sums of 4 rows are more than registers hold, so a block is 16 outputs wide, and a tile is read in chunks: the second
block finds its chunk in the L1 cache.

    for tile:
        for chunk of 128 inputs:
            for block of 16 outputs:
                for group, for i in group:    sums[rows] += x[rows, i] * weights

Many rows (prefill, batches) are limited by arithmetic. The weights are unpacked once into a small buffer, which stays
in the L1 cache while all rows use it:

    for tile, and for each 192 rows:
        for chunk of 128 inputs:              unpack 128 x 32 weights: 16 KB
            for panel of 16 outputs:
                for block of 6 rows:          ask memory for a part of the next chunk
                    sums += x[rows, i] * buffer[panel, i]      see blocks.py

While a block is multiplied, nothing else would be read from memory. So a block first asks for a part of the next chunk,
and memory delivers it meanwhile. After the last chunk of a tile that is the first chunk of the next tile.

All compute the same: for each output, one multiply-add an input, in the order of inputs. The weights have been rounded
to float32 before. So a row has the same bits in all three, and next to any other rows. Bias and residual are added at
the end; adding to the residual from the start would round every step at the residual's magnitude.

Threads share the tiles in *runs* of neighbours, which follow each other in memory. So a thread reads one long piece,
and what it asks ahead at the end of a tile is the beginning of its next one. When tiles were dealt out one by one, a
decode step took up to a quarter longer.

The naive twins are `Plain.linear` and `Plain.add_linear`.
"""

from typing import Any

import numpy as np

from minillm.backends.compiled.blocks import MOST_ROWS, add_rows
from minillm.backends.compiled.compiling import inlined, kernel
from minillm.backends.compiled.sharing import THREADS, done_take_next, likely_next, take, wait
from minillm.backends.compiled.vectors import (
    load,
    load_rows,
    multiply_add_rows,
    stack_array,
    store,
    store_rows,
    zeros,
)
from minillm.backends.compiled.weights import (
    GROUP,
    LANES,
    TILE,
    ask_ahead,
    ask_lines,
    factor_row,
    lines_of,
    unpack,
    weight_row,
)

CHUNK = 128  # inputs, a multiple of a group
AHEAD = 16  # cache lines that one row asks ahead
FEW_ROWS = 4  # with 5, int4 runs out of registers, and is slower than with a buffer
RUNS = 6  # of each thread, about: with fewer, a slow thread would be waited for
ROWS = 192  # rows of an item: their sums take 24 KB


@inlined
def add_unpacked(
    block: Any, lanes: int, x: Any, row: int, weights: Any, tile: int, first: int, end: int, column: int, ahead: int
) -> Any:
    """Add inputs `first` (begins a group) to `end` of rows row, row + 1, ... to a block of sums.

    The block has the tile's outputs `column` to `column + lanes`. Weights are unpacked in registers, and used once for
    each row of the block. `ahead`: see `ask_ahead`.
    """
    numbers, scales, minimums = weights
    for group in range(first // GROUP, (end + GROUP - 1) // GROUP):
        scale = factor_row(numbers, scales, tile, group, column, lanes)
        minimum = factor_row(numbers, minimums, tile, group, column, lanes)
        stop = min(end, group * GROUP + GROUP)
        for eight in range(group * 4, stop // 8):
            ask_ahead(numbers, tile, eight, column, lanes, ahead)
            for k in range(8):  # unrolled by the compiler, which loads an int4 word once for its 8 inputs
                one = weight_row(numbers, scale, minimum, (tile, eight, k, column), lanes)
                block = multiply_add_rows(block, x, (row, 8 * eight + k), one)
        for i in range(stop - stop % 8, stop):
            one = weight_row(numbers, scale, minimum, (tile, i // 8, i % 8, column), lanes)
            block = multiply_add_rows(block, x, (row, i), one)
    return block


@inlined
def one_row(x: Any, row: int, weights: Any, tile: int, sums: Any) -> None:
    """Add the products of one row to sums[0], all outputs of the tile at once: 16 have too few sums in progress."""
    at = (0, 0)
    block = load_rows(sums, at, 1, TILE)
    store_rows(sums, at, add_unpacked(block, TILE, x, row, weights, tile, 0, x.shape[1], 0, AHEAD))


@kernel
def few_rows(x: Any, row: int, rows: int, weights: Any, tile: int, sums: Any) -> None:
    """Add the products of 2 to 4 rows to sums `[rows, 32]`. The number of rows is fixed when a loop is compiled."""
    ahead = lines_of(weights[0], CHUNK // 8)  # both blocks of a chunk ask for the next one, half of it each
    for first in range(0, x.shape[1], CHUNK):
        end = min(x.shape[1], first + CHUNK)
        for column in range(0, TILE, LANES):
            at = (0, column)
            if rows == 4:  # blocks of 4, 3 and 2 rows differ in type, so each has a variable of its own
                block = load_rows(sums, at, 4, LANES)
                store_rows(sums, at, add_unpacked(block, LANES, x, row, weights, tile, first, end, column, ahead))
            elif rows == 3:
                three = load_rows(sums, at, 3, LANES)
                store_rows(sums, at, add_unpacked(three, LANES, x, row, weights, tile, first, end, column, ahead))
            else:
                two = load_rows(sums, at, 2, LANES)
                store_rows(sums, at, add_unpacked(two, LANES, x, row, weights, tile, first, end, column, ahead))


@inlined
def many_rows(x: Any, start: int, rows: int, weights: Any, tile: int, next_tile: int, buffer: Any, sums: Any) -> None:
    """Add the products of `rows` rows from `start` on to sums `[rows, 32]`.

    Meanwhile memory brings the next chunk: each block first asks for its share of it.
    """
    numbers, scales, minimums = weights
    blocks = (rows + MOST_ROWS - 1) // MOST_ROWS
    for first in range(0, x.shape[1], CHUNK):
        end = min(x.shape[1], first + CHUNK)
        unpack(numbers, scales, minimums, tile, first, end, buffer)
        for panel in range(TILE // LANES):
            for block in range(blocks):  # blocks of about equal size: 8 rows are 4 + 4, not 6 + 2
                share = panel * blocks + block
                if end < x.shape[1]:
                    ask_share(numbers, tile, end, share, 2 * blocks)
                else:
                    ask_share(numbers, next_tile, 0, share, 2 * blocks)
                row, last = rows * block // blocks, rows * (block + 1) // blocks
                add_rows(last - row, x, start + row, first, np.int64(0), end - first, buffer, panel, sums, row)


@inlined
def ask_share(numbers: Any, tile: int, first: int, share: int, shares: int) -> None:
    """Ask for a share of the chunk of a tile that begins with input `first`; shares count from 0."""
    line, lines = lines_of(numbers, first // 8), lines_of(numbers, CHUNK // 8)
    ask_lines(numbers, tile, line + lines * share // shares, line + lines * (share + 1) // shares)


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
    """Work through the items of a product: runs of tiles, each with at most 192 rows."""
    buffer = stack_array(x, (2, 128, 16))  # [panels, CHUNK, LANES]
    sums = stack_array(x, (192, 32))  # [ROWS, TILE]
    tiles, parts = numbers.shape[0], (x.shape[0] + ROWS - 1) // ROWS
    run = max(1, tiles // (RUNS * counters[0, THREADS]))
    items = (tiles + run - 1) // run * parts
    weights = (numbers, scales, minimums)
    item = take(counters, phase)
    while item < items:
        first, part = item // parts * run, item % parts
        start = x.shape[0] * part // parts
        rows = x.shape[0] * (part + 1) // parts - start
        end = min(tiles, first + run)
        for tile in range(first, end):
            for row in range(rows):
                store(sums, (row, 0), zeros(x, TILE))
            if rows == 1:
                one_row(x, start, weights, tile, sums)
            elif rows <= FEW_ROWS:
                few_rows(x, start, rows, weights, tile, sums)
            else:
                next_tile = tile + 1 if tile + 1 < end else likely_next(counters, phase, item) // parts * run
                many_rows(x, start, rows, weights, tile, next_tile, buffer, sums)
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
