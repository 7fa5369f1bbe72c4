"""A step through the layers in one call: every kernel of this folder, one after another.

    phase 0   norm            rows of x -> h
          1   q, k, v         h -> qkv
          2   norm and rotate q and k of each row, write k and v to the cache
          3   attention       tasks            4   merge, if tasks are single pieces
          5   output          x += product
          6   norm            x -> h
          7   gate and up     h -> gate_up
          8   SwiGLU          gate_up -> gated
          9   down            x += product

A call from Python costs 10 microseconds or more, and waking a thread 50. A layer of a small model takes less. So the
threads enter once for many layers, and between phases they only look at counters (`sharing.py`).

A list of layers with arrays in different formats is not a type that numba can compile. So a layer is a line of
addresses, and the arrays that tell their dtypes are empty: `numbers`, `scales`, `minimums`. All matrices of the layers
have one format.

The naive twin is `transformer_layer` in `minillm/transformer.py`, over the methods of `backend.py`: the same bits.
"""

from typing import Any

import numpy as np

from minillm.backends.compiled.attention import attention_items, merge_items, slot_of
from minillm.backends.compiled.compiling import inlined, kernel
from minillm.backends.compiled.int8_rows import write_int8
from minillm.backends.compiled.plan import FIRST_ROW, KEY_SCALES, KEYS, LENGTH, SLOTS, VALUE_SCALES, VALUES
from minillm.backends.compiled.product import product_items
from minillm.backends.compiled.rows import norm_items, rotate_heads, swiglu_items
from minillm.backends.compiled.sharing import done_take_next, take, wait
from minillm.backends.compiled.vectors import array_at
from minillm.backends.compiled.weights import GROUP, TILE

# Fields of a layer: the addresses of four arrays for each of four matrices (0: there is no such array), those of the
# norms, and the window.
QKV, OUTPUT, GATE_UP, DOWN = 0, 4, 8, 12
NUMBERS, SCALES, MINIMUMS, BIAS = 0, 1, 2, 3
ATTENTION_NORM, MLP_NORM, QK_NORM, WINDOW = 16, 17, 18, 19
FIELDS = 20
PHASES = 10


@inlined
def matrix_product(
    x: Any, fields: Any, matrix: int, depth: int, weights: Any, residual: Any, out: Any, counters: Any, phase: int
) -> None:
    """Multiply with a matrix of a layer, whose fields give the addresses of its arrays.

    Args:
        x, residual, out, counters, phase: see `product_items`.
        fields: `[20]`, of the layer.
        matrix: QKV, OUTPUT, GATE_UP or DOWN.
        depth: the length of the second axis of its numbers.
        weights: empty arrays with the dtypes of numbers, scales and minimums.
    """
    numbers, scales, minimums = weights
    tiles, groups = (out.shape[1] + TILE - 1) // TILE, (x.shape[1] + GROUP - 1) // GROUP
    n = array_at(numbers, fields[matrix + NUMBERS], (tiles, depth, TILE))
    s = array_at(scales, fields[matrix + SCALES], (tiles, groups, TILE))
    m = array_at(minimums, fields[matrix + MINIMUMS], (tiles, groups, TILE))
    b = array_at(x, fields[matrix + BIAS], (out.shape[1] if fields[matrix + BIAS] else 0,))
    product_items(x, n, s, m, b, residual, out, counters, phase)


@kernel
def write_to_cache(row: Any, numbers: int, scales: int, head: int, slots: int, slot: int) -> None:
    """Write a key or value `[head_dim]` to a slot. Twins: the `write` of `CacheMemory`, and of `Int8Memory`.

    Args:
        row: what is written.
        numbers, scales: addresses of `[layers, kv_heads, slots, head_dim]`, and of `[layers, kv_heads, slots]` or 0.
        head: layer * kv_heads + key head.
        slots: number of slots.
        slot: the slot.
    """
    begin, shape = head * slots, (slots, row.size)
    if scales == 0:
        floats = array_at(row, numbers + begin * row.size * row.itemsize, shape)
        for d in range(row.size):
            floats[slot, d] = row[d]
    else:
        rounded = array_at(np.int8, numbers + begin * row.size, shape)
        write_int8(row, rounded, array_at(np.float32, scales + begin * 4, (slots,)), slot)


@kernel
def rotate_items(
    qkv: Any, sizes: Any, qk_norm: Any, angles: Any, layer: int, plan: Any, counters: Any, phase: int
) -> None:
    """For each row: normalise and rotate queries and keys, then write key and value to the cache of its sequence."""
    sequences, owners, tables, _, _, _ = plan
    heads, kv_heads, eps = sizes
    row = take(counters, phase)
    while row < qkv.shape[0]:
        rotate_heads(qkv, row, heads + kv_heads, qk_norm, eps, angles)
        s = owners[row]
        slot = slot_of(sequences, tables, s, sequences[s, LENGTH] + row - sequences[s, FIRST_ROW])
        for head in range(kv_heads):
            key, value = qkv[row, heads + head], qkv[row, heads + kv_heads + head]
            place = layer * kv_heads + head
            write_to_cache(key, sequences[s, KEYS], sequences[s, KEY_SCALES], place, sequences[s, SLOTS], slot)
            write_to_cache(value, sequences[s, VALUES], sequences[s, VALUE_SCALES], place, sequences[s, SLOTS], slot)
        row = done_take_next(counters, phase)
    wait(counters, phase, qkv.shape[0])


@kernel
def layers_step(
    first_layer: int, end_layer: int, layers: Any, sizes: Any, x: Any, room: Any, angles: Any, plan: Any, counters: Any
) -> None:
    """Run layers `first_layer` to `end_layer - 1` on all rows of a ragged batch.

    Args:
        first_layer, end_layer: numbers of layers.
        layers: `[layers, 20]`, addresses and windows, see above; empty arrays with the dtypes of numbers, scales and
            minimums; and the depths of (q k v, gate and up), output, down: the second axis of their numbers.
        sizes: heads, kv_heads and eps of the config.
        x: `[rows, dim]`, the residual stream: input and output.
        room: for h `[rows, dim]`, qkv `[rows, heads + 2 * kv_heads, head_dim]`, attended `[rows, heads, head_dim]`,
            gate_up `[rows, 2 * inner]` and gated `[rows, inner]`.
        angles: cosine and sine, `[rows, half]` each.
        plan: `tuple(plan.plan(...))`.
        counters: `new_counters((end_layer - first_layer) * PHASES)`.
    """
    table, weights, depths = layers
    (heads, kv_heads, eps), (h, qkv, attended, gate_up, gated) = sizes, room
    nothing = array_at(x, np.int64(0), (0, 0))
    flat_qkv, flat_attended = qkv.reshape(x.shape[0], -1), attended.reshape(x.shape[0], -1)
    for layer in range(first_layer, end_layer):
        fields, phase = table[layer], (layer - first_layer) * PHASES
        norm_items(x, array_at(x, fields[ATTENTION_NORM], (x.shape[1],)), eps, h, counters, phase)
        matrix_product(h, fields, QKV, depths[0], weights, nothing, flat_qkv, counters, phase + 1)
        norms = (heads + kv_heads) * qkv.shape[2] if fields[QK_NORM] else 0
        rotate_items(qkv, sizes, array_at(x, fields[QK_NORM], (norms,)), angles, layer, plan, counters, phase + 2)
        attention_items(qkv, layer, kv_heads, fields[WINDOW], plan, attended, counters, phase + 3)
        merge_items(plan, attended, counters, phase + 4)
        matrix_product(flat_attended, fields, OUTPUT, depths[1], weights, x, x, counters, phase + 5)
        norm_items(x, array_at(x, fields[MLP_NORM], (x.shape[1],)), eps, h, counters, phase + 6)
        matrix_product(h, fields, GATE_UP, depths[0], weights, nothing, gate_up, counters, phase + 7)
        swiglu_items(gate_up, gated, counters, phase + 8)
        matrix_product(gated, fields, DOWN, depths[2], weights, x, x, counters, phase + 9)
