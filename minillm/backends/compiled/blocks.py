"""Blocks: up to 6 rows times 16 outputs, the inner loop of products and of attention.

    buffer[panel]        16 outputs                 sums, in registers      16 outputs
            input 0      w w w w ... w                            row 0     s s s s ... s
                  1      w w w w ... w         x[row, i] *            1     s s s s ... s
                  2      w w w w ... w              +                 ...
                  ...                                                 5     s s s s ... s

For each input: the 16 weights are loaded once and multiplied with that input of each of the 6 rows, 6 * 16 = 96
multiply-adds for 16 + 6 numbers from memory. With AVX2 (8 float32 a register) 12 of the 16 registers are sums, 2 are
weights, and 1 is the input. A multiply-add takes 4 cycles and 2 begin in each cycle, so 8 sums have to be in progress
at any time: 12 are enough. Measured on a core of AMD Zen 3: 88 of 98 GFLOP/s.

A row's sum has the order of its inputs, in a block of 1 row as in one of 6. The naive twin is
`sums += x[:, first:end] @ buffer[panel, first:end]`.
"""

from typing import Any

from minillm.backends.compiled.compiling import inlined, kernel
from minillm.backends.compiled.vectors import load, load_rows, multiply_add_rows, store_rows
from minillm.backends.compiled.weights import LANES

MOST_ROWS = 6


@inlined
def add_block(block: Any, x: Any, row: int, skip: int, first: int, end: int, buffer: Any, panel: int) -> Any:
    """Add x[row + r, skip + i] * buffer[panel, i] to row r of the block, for i from `first` to `end`."""
    for i in range(first, end):
        block = multiply_add_rows(block, x, (row, skip + i), load(buffer, (panel, i, 0), LANES))
    return block


@kernel
def add_rows(
    rows: int, x: Any, row: int, skip: int, first: int, end: int, buffer: Any, panel: int, sums: Any, to: int
) -> None:
    """Do that for `rows` rows, 1 to 6, with sums[to : to + rows, 16 * panel : 16 * panel + 16] as the block.

    The number of rows of a block is fixed when it is compiled: there are six loops.
    """
    at = (to, panel * LANES)
    if rows == 6:
        store_rows(sums, at, add_block(load_rows(sums, at, 6, LANES), x, row, skip, first, end, buffer, panel))
    elif rows == 5:
        store_rows(sums, at, add_block(load_rows(sums, at, 5, LANES), x, row, skip, first, end, buffer, panel))
    elif rows == 4:
        store_rows(sums, at, add_block(load_rows(sums, at, 4, LANES), x, row, skip, first, end, buffer, panel))
    elif rows == 3:
        store_rows(sums, at, add_block(load_rows(sums, at, 3, LANES), x, row, skip, first, end, buffer, panel))
    elif rows == 2:
        store_rows(sums, at, add_block(load_rows(sums, at, 2, LANES), x, row, skip, first, end, buffer, panel))
    else:
        store_rows(sums, at, add_block(load_rows(sums, at, 1, LANES), x, row, skip, first, end, buffer, panel))
