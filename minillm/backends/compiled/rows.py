"""What happens to each row on its own: RMSNorm, RoPE, SwiGLU, and the embedding's row of a token.

    norm      x / sqrt(mean(x**2) + eps) * weight       16 sums of squares, lane by lane, then added as a tree
    rotate    (a, b) -> (a cos - b sin, b cos + a sin)      pairs (i, i + half) of a head, in place
    swiglu    gate / (1 + exp(-gate)) * up              16 numbers at once; see exponential.py

A loop takes 16 neighbouring numbers at a time, as this one does for `norm`:

    for i in 0, 16, 32, ...:
        squares += x[i : i + 16] ** 2                                16 sums, in one register
    scale = 1 / sqrt(sum of squares / size + eps)
    for i in 0, 16, 32, ...:
        out[i : i + 16] = x[i : i + 16] * scale * weight[i : i + 16]

The naive twins are `rms_norm`, `apply_rope` and `swiglu` in `minillm/layers.py`, and `Plain.embed`. A row is one item,
so threads share the rows of a batch. The numbers that do not fill a vector at the end of a row are computed one by one,
with the same operations.
"""

from typing import Any

import numpy as np

from minillm.backends.compiled.compiling import kernel
from minillm.backends.compiled.exponential import exp
from minillm.backends.compiled.sharing import done_take_next, take, wait
from minillm.backends.compiled.vectors import lane_sum, load, multiply_add, splat, stack_array, store, zeros
from minillm.backends.compiled.weights import GROUP, LANES, TILE, factor_row, weight_row


@kernel
def norm_row(x: Any, start: int, weight: Any, weight_start: int, size: int, eps: float, out: Any, to: int) -> None:
    """Write RMSNorm of x[start : start + size] to out[to : to + size]; all arrays are flat."""
    whole = size - size % LANES
    squares = zeros(x, LANES)
    for i in range(0, whole, LANES):
        numbers = load(x, start + i, LANES)
        squares = multiply_add(numbers, numbers, squares)
    total = lane_sum(squares)
    for i in range(whole, size):
        total = multiply_add(x[start + i], x[start + i], total)
    scale = x.dtype.type(1) / np.sqrt(total / x.dtype.type(size) + x.dtype.type(eps))
    for i in range(0, whole, LANES):
        scaled = load(x, start + i, LANES) * splat(scale, LANES)
        store(out, to + i, scaled * load(weight, weight_start + i, LANES))
    for i in range(whole, size):
        out[to + i] = x[start + i] * scale * weight[weight_start + i]


@kernel
def rotate_row(x: Any, start: int, half: int, cosine: Any, sine: Any, angle: int) -> None:
    """Rotate the pairs (i, i + half) of the head at x[start], in place, by cosine[angle + i] and sine[angle + i]."""
    whole = half - half % LANES
    for i in range(0, whole, LANES):
        first, second = load(x, start + i, LANES), load(x, start + half + i, LANES)
        c, s = load(cosine, angle + i, LANES), load(sine, angle + i, LANES)
        store(x, start + i, first * c - second * s)
        store(x, start + half + i, multiply_add(second, c, first * s))
    for i in range(whole, half):
        first, second = x[start + i], x[start + half + i]
        c, s = cosine[angle + i], sine[angle + i]
        x[start + i] = first * c - second * s
        x[start + half + i] = multiply_add(second, c, first * s)


@kernel
def rotate_heads(x: Any, row: int, heads: int, weight: Any, eps: float, angles: Any) -> None:
    """Rotate the first `heads` heads of x[row] in place, after RMSNorm of each if there is a weight.

    Args:
        x: `[rows, heads or more, head_dim]`.
        row, heads: as above.
        weight: `[heads * head_dim]`, or empty.
        eps: of the norm.
        angles: cosine and sine, `[rows, half]` each.
    """
    cosine, sine = angles
    head_dim, half = x.shape[2], x.shape[2] // 2
    flat, flat_cosine, flat_sine = x.reshape(-1), cosine.reshape(-1), sine.reshape(-1)
    for head in range(heads):
        start = (row * x.shape[1] + head) * head_dim
        if weight.size:
            norm_row(flat, start, weight, head * head_dim, head_dim, eps, flat, start)
        rotate_row(flat, start, half, flat_cosine, flat_sine, row * half)


@kernel
def swiglu_row(gate_up: Any, start: int, inner: int, first: int, end: int, out: Any, to: int) -> None:
    """Write silu(gate_up[start + i]) * gate_up[start + inner + i] to out[to + i], for i from `first` to `end`."""
    one, zero = splat(gate_up.dtype.type(1), LANES), zeros(gate_up, LANES)
    last = stack_array(gate_up, (2, 16))
    for i in range(first, end, LANES):
        count = min(LANES, end - i)
        if count == LANES:
            gate, up = load(gate_up, start + i, LANES), load(gate_up, start + inner + i, LANES)
            store(out, to + i, gate / (one + exp(zero - gate)) * up)
        else:
            for lane in range(LANES):
                last[0, lane] = gate_up[start + i + lane] if lane < count else 0
                last[1, lane] = gate_up[start + inner + i + lane] if lane < count else 0
            gate, up = load(last, (0, 0), LANES), load(last, (1, 0), LANES)
            store(last, (0, 0), gate / (one + exp(zero - gate)) * up)
            for lane in range(count):
                out[to + i + lane] = last[0, lane]


@kernel
def embed_row(token: int, numbers: Any, scales: Any, minimums: Any, out: Any, row: int) -> None:
    """Write the token's row of a packed matrix: one lane of each weight row of its tile."""
    tile, lane = token // TILE, token % TILE
    inputs = out.shape[1]
    weights = stack_array(out, (32,))
    for group in range((inputs + GROUP - 1) // GROUP):
        scale = factor_row(numbers, scales, tile, group, 0, TILE)
        minimum = factor_row(numbers, minimums, tile, group, 0, TILE)
        for i in range(group * GROUP, min(inputs, group * GROUP + GROUP)):
            store(weights, 0, weight_row(numbers, scale, minimum, (tile, i // 8, i % 8, 0), TILE))
            out[row, i] = weights[lane]


@kernel
def norm_items(x: Any, weight: Any, eps: float, out: Any, counters: Any, phase: int) -> None:
    """Normalise the rows of x `[rows, dim]`."""
    rows, dim = x.shape
    flat_x, flat_out = x.reshape(-1), out.reshape(-1)
    row = take(counters, phase)
    while row < rows:
        norm_row(flat_x, row * dim, weight, np.int64(0), dim, eps, flat_out, row * dim)
        row = done_take_next(counters, phase)
    wait(counters, phase, rows)


@kernel
def swiglu_items(gate_up: Any, out: Any, counters: Any, phase: int) -> None:
    """Write SwiGLU of gate_up `[rows, 2 * inner]` to out `[rows, inner]`, 1024 numbers an item."""
    rows, inner = out.shape
    flat, flat_out = gate_up.reshape(-1), out.reshape(-1)
    parts = (inner + 1023) // 1024
    item = take(counters, phase)
    while item < rows * parts:
        row, first = item // parts, item % parts * 1024
        swiglu_row(flat, row * 2 * inner, inner, first, min(inner, first + 1024), flat_out, row * inner)
        item = done_take_next(counters, phase)
    wait(counters, phase, rows * parts)


@kernel
def embed_items(tokens: Any, numbers: Any, scales: Any, minimums: Any, out: Any, counters: Any, phase: int) -> None:
    """Write the row of each token to out `[tokens, dim]`."""
    row = take(counters, phase)
    while row < len(tokens):
        embed_row(tokens[row], numbers, scales, minimums, out, row)
        row = done_take_next(counters, phase)
    wait(counters, phase, len(tokens))


@kernel
def rms_norm(x: Any, weight: Any, eps: float, out: Any, counters: Any) -> None:
    """Write RMSNorm of each row of x `[rows, dim]` to out, which may be x. `counters` are `new_counters(1)`."""
    norm_items(x, weight, eps, out, counters, np.int64(0))


@kernel
def swiglu(gate_up: Any, out: Any, counters: Any) -> None:
    """Write silu(gate) * up to out `[rows, inner]`, where gate_up is `[rows, 2 * inner]`."""
    swiglu_items(gate_up, out, counters, np.int64(0))


@kernel
def embed(tokens: Any, numbers: Any, scales: Any, minimums: Any, out: Any, counters: Any) -> None:
    """Write the weights of the outputs `tokens` of a packed matrix to out `[tokens, dim]`: rows of an embedding."""
    embed_items(tokens, numbers, scales, minimums, out, counters, np.int64(0))


@kernel
def rotate(x: Any, weight: Any, eps: float, cosine: Any, sine: Any, counters: Any) -> None:
    """Rotate the heads of x `[tokens, heads, head_dim]` in place, after RMSNorm of each if there is a weight.

    Args:
        x: queries and keys.
        weight: `[heads * head_dim]`, or empty.
        eps: of the norm.
        cosine, sine: `[tokens, half]`.
        counters: `new_counters(1)`.
    """
    row = take(counters, 0)
    while row < x.shape[0]:
        rotate_heads(x, row, x.shape[1], weight, eps, (cosine, sine))
        row = done_take_next(counters, 0)
    wait(counters, 0, x.shape[0])
