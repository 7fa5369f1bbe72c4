"""Vectors: the registers of the processor that hold several numbers, as values that a compiled loop can use.

A processor with AVX2 has 16 registers of 8 float32 numbers, and one instruction multiplies and adds all 8:

    x[i], x[i], ...  x[i]            splat(x[i])
      *     *          *
    w[0]  w[1]  ...  w[7]            load(w, (i, 0), 8)
      +     +          +
    a[0]  a[1]  ...  a[7]            the accumulators: multiply_add(splat(x[i], 8), load(...), a)

A compiler finds such instructions in plain loops only sometimes, and it may then add in another order. Here they are
written out, so the order of operations is the one on the page, on every processor. A `Vector` may have more lanes than
a register: the compiler then takes several registers. `Block` is the same for several rows: one vector a row.

numba knows neither type. Both are defined here, and each function says which instruction of LLVM (the compiler under
numba) it stands for. `multiply_add` rounds once (LLVM's `fma`), for scalars as for vectors. So a lane of a vector has
the bits of the scalar loop.

    registers.py      the types Vector and Block
    memory.py         load and store; arrays on the stack
    arithmetic.py     splat, multiply_add, + - * /
    lanes.py          sums over lanes, transposing
    conversions.py    from 4, 8 and 16 bits to float32
    atomic.py         counters that threads share
"""

from minillm.backends.compiled.vectors.arithmetic import (
    multiply_add,
    multiply_add_rows,
    nearest,
    splat,
    where_less,
    zeros,
)
from minillm.backends.compiled.vectors.atomic import add_and_get_old, seen_by_all
from minillm.backends.compiled.vectors.conversions import (
    as_float,
    bits_and,
    from_float16,
    plus_number,
    shift_left,
    shift_right,
    to_float32,
    to_integer,
    widen,
)
from minillm.backends.compiled.vectors.lanes import lane_max, lane_sum, transpose
from minillm.backends.compiled.vectors.memory import (
    address_of,
    array_at,
    load,
    load_chosen_rows,
    load_rows,
    number,
    prefetch,
    stack_array,
    store,
    store_rows,
)
from minillm.backends.compiled.vectors.registers import Block, Vector

__all__ = [
    "Block",
    "Vector",
    "add_and_get_old",
    "address_of",
    "array_at",
    "as_float",
    "bits_and",
    "from_float16",
    "lane_max",
    "lane_sum",
    "load",
    "load_chosen_rows",
    "load_rows",
    "multiply_add",
    "multiply_add_rows",
    "nearest",
    "number",
    "plus_number",
    "prefetch",
    "seen_by_all",
    "shift_left",
    "shift_right",
    "splat",
    "stack_array",
    "store",
    "store_rows",
    "to_float32",
    "to_integer",
    "transpose",
    "where_less",
    "widen",
    "zeros",
]
