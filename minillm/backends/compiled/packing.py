"""Packing: rows as files store them, `[out, in]`, into tiles. Done once for each matrix, when it is loaded.

    rows        in 0  1  2 ...            tile     out 0  1  2 ... 31
    out 0          a  b  c                in 0         a  d  g
        1          d  e  f        ->         1         b  e  h
        2          g  h  i                   2         c  f  i

Squares of 8 x 8 are transposed in registers, so a core packs a billion weights a second: the time of reading a file.
Rows are packed part by part (q, then k, then v), and the file is not copied first: there is never a second copy of a
model in memory. The naive twin is one line of NumPy: `rows.reshape(tiles, 32, n).swapaxes(1, 2)`.
"""

from typing import Any

from minillm.backends.compiled.compiling import kernel
from minillm.backends.compiled.sharing import done_take_next, take, wait
from minillm.backends.compiled.vectors import load_rows, store_rows, transpose
from minillm.backends.compiled.weights import TILE

STRIP = 8


@kernel
def pack_rows(rows: Any, first: int, tiles: Any, counters: Any) -> None:
    """Copy rows `[n, in]` to outputs first, first + 1, ... of tiles `[tiles, in, 32]`, of the same dtype.

    Also for scales and minimums, `[n, groups]` to `[tiles, groups, 32]`. An item is a strip of 8 rows. The last item
    is the rows before the first strip and after the last one.
    """
    out, inputs = rows.shape
    begin = min(out, (STRIP - first % STRIP) % STRIP)  # rows before the first whole strip
    strips = (out - begin) // STRIP
    strip = take(counters, 0)
    while strip < strips + 1:
        if strip < strips:
            row = begin + strip * STRIP
            tile, lane = (first + row) // TILE, (first + row) % TILE
            whole = inputs - inputs % STRIP
            for i in range(0, whole, STRIP):
                store_rows(tiles[tile], (i, lane), transpose(load_rows(rows, (row, i), 8, 8)))
            for i in range(whole, inputs):
                for k in range(STRIP):
                    tiles[tile, i, lane + k] = rows[row + k, i]
        else:
            for row in range(out):
                if row < begin or row >= begin + strips * STRIP:
                    for i in range(inputs):
                        tiles[(first + row) // TILE, i, (first + row) % TILE] = rows[row, i]
        strip = done_take_next(counters, 0)
    wait(counters, 0, strips + 1)


@kernel
def pack_pairs(pairs: Any, first: int, words: Any, counters: Any) -> None:
    """Copy int4 pairs `[n, groups, 16]` to outputs first, first + 1, ... of words `[tiles, groups * 4, 32]`.

    Byte j of a group holds inputs j and j + 16, in its lower and upper half. A word holds 8 inputs that follow each
    other: words 0 and 1 are the lower halves of bytes 0 to 7 and 8 to 15, words 2 and 3 the upper halves. The naive
    twin of word e of a group is `sum(numbers[8 * e + k] << 4 * k for k in range(8))`, with `Int4.numbers`.
    """
    out = pairs.shape[0]
    row = take(counters, 0)
    while row < out:
        tile, lane = (first + row) // TILE, (first + row) % TILE
        for group in range(pairs.shape[1]):
            for part in range(2):
                low, high = 0, 0
                for k in range(8):
                    pair = int(pairs[row, group, 8 * part + k])
                    low |= (pair & 15) << 4 * k
                    high |= (pair >> 4) << 4 * k
                words[tile, group * 4 + part, lane] = low
                words[tile, group * 4 + 2 + part, lane] = high
        row = done_take_next(counters, 0)
    wait(counters, 0, out)
