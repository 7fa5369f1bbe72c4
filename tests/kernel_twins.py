"""What each kernel of minillm/backends/kernels.cu does, in NumPy: the same arguments, arrays where it gets addresses.

`numbers_at` gives the whole array that lies at an address, which is how a kernel reaches the caches.
"""

import numpy as np

from minillm.attention import attend
from minillm.layers import apply_rope, rms_norm, swiglu


def widen(stored):
    """Weights as numbers; bfloat16 is kept as the upper halves of float32."""
    if stored.dtype == np.uint16:
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32) if stored.dtype == np.float16 else stored


def narrow(x, out, size, numbers_at):
    """To the kind of `out`; bfloat16 is rounded to the nearest, and to the even one of two."""
    if out.dtype == np.uint16:
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
        x = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    with np.errstate(over="ignore"):  # what is too large for a float16 becomes infinite
        out[...] = x.reshape(out.shape).astype(out.dtype)


def embed(embedding, tokens, x, dim, numbers_at):
    x[...] = widen(embedding[tokens])


def cos_sin(positions, frequencies, cosine, sine, half, numbers_at):
    angles = (positions[:, None] * frequencies)[:, None]  # [tokens, 1, half]
    cosine[...], sine[...] = np.cos(angles), np.sin(angles)


def rms(x, weight, out, dim, eps, numbers_at):
    out[...] = rms_norm(x, weight, eps)


def rope(x, weight, cosine, sine, out, heads, stride, half, eps, numbers_at):
    out[...] = apply_rope(x if weight is None else rms_norm(x, weight, eps), (cosine, sine))


def gated(gate, up, out, stride, inner, numbers_at):
    out[...] = swiglu(gate, up)


def rows(x, weight, bias, residual, out, rows, inner, outs, numbers_at):
    with np.errstate(invalid="ignore"):  # BLAS may read beyond a small matrix, and flag what it finds there
        product = widen(x) @ widen(weight).T
    product = product if bias is None else product + bias
    out[...] = product if residual is None else residual + product


def attention(q, k, v, out, q_stride, k_stride, v_stride, owners, sequences, tables, layer, kv_heads, head_dim,
              window, scale, numbers_at):  # fmt: skip
    """Sequence by sequence: append to the cache, then attend over what it holds."""
    for number, numbers in enumerate(sequences.reshape(-1, 8)):
        keys_at, values_at, slots, block_size, first_entry, cached, row, new = numbers.tolist()
        assert np.flatnonzero(owners == number).tolist() == list(range(row, row + new))
        position = np.arange(cached + new)
        slot = tables[first_entry + position // block_size] * block_size + position % block_size
        span, keys, values = slice(row, row + new), numbers_at(keys_at)[layer], numbers_at(values_at)[layer]
        assert keys.shape == values.shape == (kv_heads, slots, head_dim)
        keys[:, slot[cached:]], values[:, slot[cached:]] = k[span].swapaxes(0, 1), v[span].swapaxes(0, 1)
        out[span] = attend(q[span], [(keys[:, slot], values[:, slot])], cached, window or None)


def attention_in_tiles(q, k, v, out, q_stride, k_stride, v_stride, owners, sequences, tables, tiles, *numbers,
                       numbers_at):  # fmt: skip
    rows = [range(row, row + new, 256 // q.itemsize) for *_, row, new in sequences.reshape(-1, 8).tolist()]
    assert tiles.tolist() == [first for each in rows for first in each]
    attention(q, k, v, out, q_stride, k_stride, v_stride, owners, sequences, tables, *numbers, numbers_at=numbers_at)


TWINS = {
    "narrow": narrow,
    "embed": embed,
    "cos_sin": cos_sin,
    "rms_norm": rms,
    "rope": rope,
    "swiglu": gated,
    "one_row": rows,
    "few_rows": rows,
    "attention": attention,
    "attention_in_tiles": attention_in_tiles,
}
