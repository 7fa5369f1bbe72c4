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
"""

from typing import Any

import numpy as np

from minillm.backends.compiled.attention import (
    FIRST_ROW,
    KEYS,
    LENGTH,
    SLOTS,
    VALUES,
    attention_items,
    merge_items,
    slot_of,
)
from minillm.backends.compiled.compiling import inlined, kernel
from minillm.backends.compiled.product import product_items
from minillm.backends.compiled.rows import norm_items, norm_row, rotate_row, swiglu_items
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
    x: Any,
    layers: Any,
    layer: int,
    matrix: int,
    depth: int,
    numbers: Any,
    scales: Any,
    minimums: Any,
    bias: Any,
    residual: Any,
    out: Any,
    counters: Any,
    phase: int,
) -> None:
    """Multiply with a matrix of the layer: its arrays are given by their addresses."""
    tiles, groups = (out.shape[1] + TILE - 1) // TILE, (x.shape[1] + GROUP - 1) // GROUP
    n = array_at(numbers, layers[layer, matrix + NUMBERS], (tiles, depth, TILE))
    s = array_at(scales, layers[layer, matrix + SCALES], (tiles, groups, TILE))
    m = array_at(minimums, layers[layer, matrix + MINIMUMS], (tiles, groups, TILE))
    b = array_at(bias, layers[layer, matrix + BIAS], (out.shape[1] if layers[layer, matrix + BIAS] else 0,))
    product_items(x, n, s, m, b, residual, out, counters, phase)


@kernel
def rotate_items(
    qkv: Any,
    heads: int,
    kv_heads: int,
    qk_norm: Any,
    eps: float,
    cosine: Any,
    sine: Any,
    layer: int,
    sequences: Any,
    owners: Any,
    tables: Any,
    counters: Any,
    phase: int,
) -> None:
    """For each row: normalise and rotate queries and keys, then write key and value to the cache of its sequence."""
    rows, head_dim = qkv.shape[0], qkv.shape[2]
    half = head_dim // 2
    flat, flat_cosine, flat_sine = qkv.reshape(-1), cosine.reshape(-1), sine.reshape(-1)
    row = take(counters, phase)
    while row < rows:
        for head in range(heads + kv_heads):
            start = (row * qkv.shape[1] + head) * head_dim
            if qk_norm.size:
                norm_row(flat, start, qk_norm, head * head_dim, head_dim, eps, flat, start)
            rotate_row(flat, start, half, flat_cosine, flat_sine, row * half)
        s = owners[row]
        slot = slot_of(sequences, tables, s, sequences[s, LENGTH] + row - sequences[s, FIRST_ROW])
        for head in range(kv_heads):
            place = ((layer * kv_heads + head) * sequences[s, SLOTS] + slot) * head_dim * qkv.itemsize
            key = array_at(qkv, sequences[s, KEYS] + place, (head_dim,))
            value = array_at(qkv, sequences[s, VALUES] + place, (head_dim,))
            for d in range(head_dim):
                key[d] = qkv[row, heads + head, d]
                value[d] = qkv[row, heads + kv_heads + head, d]
        row = done_take_next(counters, phase)
    wait(counters, phase, rows)


@kernel
def layers_step(
    first_layer: int,
    end_layer: int,
    layers: Any,
    numbers: Any,
    scales: Any,
    minimums: Any,
    depths: Any,
    heads: int,
    kv_heads: int,
    eps: float,
    x: Any,
    h: Any,
    qkv: Any,
    attended: Any,
    gate_up: Any,
    gated: Any,
    cosine: Any,
    sine: Any,
    sequences: Any,
    owners: Any,
    tables: Any,
    tasks: Any,
    merges: Any,
    partials: Any,
    counters: Any,
) -> None:
    """Run layers `first_layer` to `end_layer` on all rows of a ragged batch.

    Args:
        first_layer, end_layer: numbers of layers.
        layers: `[layers, 20]`: addresses and windows, see above.
        numbers, scales, minimums: empty arrays with the dtypes of the weights.
        depths: the length of the second axis of `numbers` for (q k v, gate and up), output, down.
        heads, kv_heads, eps: of the config.
        x: `[rows, dim]`, the residual stream: input and output.
        h, qkv, attended, gate_up, gated: room for `[rows, dim]`, `[rows, heads + 2 * kv_heads, head_dim]`,
            `[rows, heads, head_dim]`, `[rows, 2 * inner]`, `[rows, inner]`.
        cosine, sine: `[rows, half]`.
        sequences, owners, tables, tasks, merges, partials: what `plan.plan` returns.
        counters: `new_counters((end_layer - first_layer) * PHASES)`.
    """
    rows, dim = x.shape
    head_dim = qkv.shape[2]
    bias = array_at(x, np.int64(0), (0,))
    nothing = array_at(x, np.int64(0), (0, 0))
    flat_qkv = qkv.reshape(rows, -1)
    flat_attended = attended.reshape(rows, -1)
    for layer in range(first_layer, end_layer):
        phase = (layer - first_layer) * PHASES
        norm_items(x, array_at(x, layers[layer, ATTENTION_NORM], (dim,)), eps, h, counters, phase)
        matrix_product(
            h, layers, layer, QKV, depths[0], numbers, scales, minimums, bias, nothing, flat_qkv, counters, phase + 1
        )
        qk_norm = array_at(x, layers[layer, QK_NORM], ((heads + kv_heads) * head_dim if layers[layer, QK_NORM] else 0,))
        rotate_items(
            qkv, heads, kv_heads, qk_norm, eps, cosine, sine, layer, sequences, owners, tables, counters, phase + 2
        )
        attention_items(
            qkv,
            layer,
            kv_heads,
            layers[layer, WINDOW],
            sequences,
            tables,
            tasks,
            partials,
            attended,
            counters,
            phase + 3,
        )
        if len(merges):
            merge_items(merges, partials, attended, counters, phase + 4)
        matrix_product(
            flat_attended, layers, layer, OUTPUT, depths[1], numbers, scales, minimums, bias, x, x, counters, phase + 5
        )
        norm_items(x, array_at(x, layers[layer, MLP_NORM], (dim,)), eps, h, counters, phase + 6)
        matrix_product(
            h, layers, layer, GATE_UP, depths[0], numbers, scales, minimums, bias, nothing, gate_up, counters, phase + 7
        )
        swiglu_items(gate_up, gated, counters, phase + 8)
        matrix_product(
            gated, layers, layer, DOWN, depths[2], numbers, scales, minimums, bias, x, x, counters, phase + 9
        )
