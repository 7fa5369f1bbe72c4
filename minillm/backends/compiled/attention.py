"""Attention over caches: the queries of a ragged batch, keys and values read where the caches keep them.

A task, a few queries and the query heads that share a key head (`plan.py`), is computed by one thread. It reads keys
in *pieces* that begin at multiples of 64 positions (`pieces.py`):

    position   0 ......... 63 | 64 ........ 127 | 128 .. 150        a query at position 150
               piece 0        | piece 1         | piece 2
               max, sum, out  | max, sum, out   | max, sum, out     softmax of each piece on its own
               ------------------- merged in this order ----------

The order of operations of a row depends on the position of its query and of its keys, and on nothing else: not on the
blocks of the cache, the chunk, the other rows, or the threads. In decode a task may be a single piece, so that several
threads share one sequence. Then `merge_items` merges the pieces, in the same order with the same operations.

The naive twin is `Plain.attention` with `minillm/attention.py`. Sources: Milakov and Gimelshein, Online normalizer
calculation for softmax, 1805.02867; Dao et al., FlashAttention, 2205.14135; Kwon et al., PagedAttention, 2309.06180.
"""

from typing import Any

import numpy as np

from minillm.backends.compiled.compiling import inlined, kernel
from minillm.backends.compiled.int8_rows import read_int8
from minillm.backends.compiled.pieces import attend_piece, gather_keys, gather_values, merge
from minillm.backends.compiled.plan import (
    BLOCK_SIZE,
    END_PIECE,
    FIRST_PARTIAL,
    FIRST_PIECE,
    FIRST_ROW,
    HEAD,
    HEADS,
    KEY_SCALES,
    KEYS,
    LARGEST_HEAD,
    LENGTH,
    MERGED_HEAD,
    MERGED_HEADS,
    MERGED_TOKEN,
    PARTIAL,
    PARTIAL_STEP,
    PARTIALS,
    PIECE,
    QUERIES,
    QUERY,
    ROWS,
    SEQUENCE,
    SLOTS,
    TABLE,
    VALUE_SCALES,
    VALUES,
)
from minillm.backends.compiled.sharing import done_take_next, take, wait
from minillm.backends.compiled.vectors import address_of, array_at, stack_array
from minillm.backends.compiled.weights import LANES

KEY_NUMBERS, ROW_NUMBERS = PIECE * LARGEST_HEAD, ROWS * LARGEST_HEAD
NO_WINDOW = 1 << 40


@inlined
def slot_of(sequences: Any, tables: Any, s: int, position: int) -> int:
    """Return the slot of a position of sequence s."""
    size = sequences[s, BLOCK_SIZE]
    return tables[sequences[s, TABLE] + position // size] * size + position % size


@inlined
def find_slots(sequences: Any, tables: Any, s: int, first: int, count: int, slots: Any) -> None:
    """Write the slots of `count` positions from `first` on to slots `[64]`, then the last one again, to the end.

    A block holds positions that follow each other, so only the first slot of a block takes a division.
    """
    k, size = 0, sequences[s, BLOCK_SIZE]
    while k < count:
        slot = slot_of(sequences, tables, s, first + k)
        for _ in range(min(count - k, size - slot % size)):
            slots[k] = slot
            k, slot = k + 1, slot + 1
    for k in range(count, PIECE):
        slots[k] = slots[count - 1]


@kernel
def gather_piece(sequences: Any, s: int, head: int, slots: Any, count: int, rows: Any, panels: Any) -> None:
    """Write keys and values at 64 slots of sequence s to panels.

    Args:
        sequences, s: see plan.py.
        head: layer * kv_heads + key head.
        slots: `[64]`. After the last key, the last key again: no slot that was never written is read.
        count: number of keys.
        rows: room for floats `[64, head_dim]`, if the cache is int8.
        panels: see pieces.py.
    """
    key_panels, value_panels = panels
    head_dim, begin = rows.shape[1], head * sequences[s, SLOTS]
    shape = (sequences[s, SLOTS], head_dim)
    if sequences[s, KEY_SCALES] == 0:
        place = begin * head_dim * rows.itemsize
        gather_keys(array_at(rows, sequences[s, KEYS] + place, shape), slots, head_dim, count, key_panels)
        gather_values(array_at(rows, sequences[s, VALUES] + place, shape), slots, head_dim, count, value_panels)
        return
    in_order = stack_array(slots, (PIECE,))
    for k in range(PIECE):
        in_order[k] = k
    place, scales_place, slots_shape = begin * head_dim, begin * 4, (sequences[s, SLOTS],)
    numbers = array_at(np.int8, sequences[s, KEYS] + place, shape)
    scales = array_at(np.float32, sequences[s, KEY_SCALES] + scales_place, slots_shape)
    read_int8(numbers, scales, slots, min(PIECE, count + LANES), rows)
    gather_keys(rows, in_order, head_dim, count, key_panels)
    numbers = array_at(np.int8, sequences[s, VALUES] + place, shape)
    scales = array_at(np.float32, sequences[s, VALUE_SCALES] + scales_place, slots_shape)
    read_int8(numbers, scales, slots, count, rows)
    gather_values(rows, in_order, head_dim, count, value_panels)


@inlined
def load_queries(q: Any, token: int, head: int, count: int, rows: int, queries: Any) -> None:
    """Write the queries of a task, over sqrt(head_dim), to queries: all heads of a token, then the next.

    Args:
        q: `[tokens, heads, head_dim]`.
        token, head, count: the task's first token, first head and number of heads.
        rows: the number of its queries, which is tokens times heads.
        queries: `[64, head_dim]`, room for them.
    """
    head_dim = queries.shape[1]
    scale = q.dtype.type(1 / np.sqrt(head_dim))
    for row in range(rows):
        for d in range(head_dim):
            queries[row, d] = q[token + row // count, head + row % count, d] * scale


@inlined
def write_task(task: Any, token: int, rows: int, totals: Any, out: Any, partials: Any) -> None:
    """Write the outputs of a task's rows to `out`; if it is a single piece, with maxima and sums to `partials`."""
    total, maxima, sums = totals
    head, count, padded = task[HEAD], task[HEADS], total.shape[1]
    for row in range(rows):
        if task[PARTIAL] < 0:
            for d in range(out.shape[2]):
                out[token + row // count, head + row % count, d] = total[row, d] / sums[0, row]
        else:
            partial = task[PARTIAL] + row
            for d in range(padded):
                partials[partial, d] = total[row, d]
            partials[partial, padded], partials[partial, padded + 1] = maxima[0, row], sums[0, row]


@kernel
def attention_items(
    q: Any, layer: int, kv_heads: int, window: int, plan: Any, out: Any, counters: Any, phase: int
) -> None:
    """Work through the tasks of a layer. The arrays on the stack take 400 KB, or 800 KB in float64."""
    sequences, _, tables, tasks, _, partials = plan
    heads, head_dim = out.shape[1], out.shape[2]
    padded = (head_dim + LANES - 1) // LANES * LANES
    key_panels = array_at(q, address_of(stack_array(q, (KEY_NUMBERS,)), 0), (PIECE // LANES, head_dim, LANES))
    value_panels = array_at(q, address_of(stack_array(q, (KEY_NUMBERS,)), 0), (padded // LANES, PIECE, LANES))
    rows_read = array_at(q, address_of(stack_array(q, (KEY_NUMBERS,)), 0), (PIECE, head_dim))
    queries = array_at(q, address_of(stack_array(q, (ROW_NUMBERS,)), 0), (ROWS, head_dim))
    outputs = array_at(q, address_of(stack_array(q, (ROW_NUMBERS,)), 0), (ROWS, padded))
    total = array_at(q, address_of(stack_array(q, (ROW_NUMBERS,)), 0), (ROWS, padded))
    scores = stack_array(q, (ROWS, PIECE))
    maxima, sums = stack_array(q, (2, ROWS)), stack_array(q, (2, ROWS))  # [0]: of all pieces so far, [1]: of one piece
    slots = stack_array(tables, (PIECE,))
    panels, room, totals = (key_panels, value_panels), (scores, outputs), (total, maxima, sums)
    number = take(counters, phase)
    while number < len(tasks):
        task = tasks[number]
        s, head, count = task[SEQUENCE], task[HEAD], task[HEADS]
        rows, token = count * task[QUERIES], sequences[s, FIRST_ROW] + task[QUERY]
        load_queries(q, token, head, count, rows, queries)
        for row in range(rows):
            sums[0, row] = 0
        position = sequences[s, LENGTH] + task[QUERY]
        last = position + task[QUERIES] - 1
        key_head = layer * kv_heads + head // (heads // kv_heads)
        for piece in range(max(max(0, position + 1 - window) // PIECE, task[FIRST_PIECE]), task[END_PIECE]):
            first = piece * PIECE
            keys = min(PIECE, last + 1 - first)
            find_slots(sequences, tables, s, first, keys, slots)
            gather_piece(sequences, s, key_head, slots, keys, rows_read, panels)
            attend_piece(queries, rows, count, position, window, first, panels, room, totals)
        write_task(task, token, rows, totals, out, partials)
        number = done_take_next(counters, phase)
    wait(counters, phase, len(tasks))


@kernel
def merge_items(plan: Any, out: Any, counters: Any, phase: int) -> None:
    """Merge what tasks with one piece each have written to `partials`, in the order of the pieces."""
    _, _, _, _, merges, partials = plan
    padded = partials.shape[1] - 2
    total = array_at(out, address_of(stack_array(out, (ROW_NUMBERS,)), 0), (ROWS, padded))
    maxima, sums = stack_array(out, (2, ROWS)), stack_array(out, (2, ROWS))
    item = take(counters, phase)
    while item < len(merges):
        for row in range(merges[item, MERGED_HEADS]):
            sums[0, row] = 0
            for number in range(merges[item, PARTIALS]):
                partial = merges[item, FIRST_PARTIAL] + number * merges[item, PARTIAL_STEP] + row
                maxima[1, row], sums[1, row] = partials[partial, padded], partials[partial, padded + 1]
                if sums[1, row] != 0:  # 0: the piece is outside the window
                    merge(total, maxima, sums, row, partials, partial)
            for d in range(out.shape[2]):
                out[merges[item, MERGED_TOKEN], merges[item, MERGED_HEAD] + row, d] = total[row, d] / sums[0, row]
        item = done_take_next(counters, phase)
    wait(counters, phase, len(merges))


@kernel
def attention(q: Any, layer: int, kv_heads: int, window: int, plan: Any, out: Any, counters: Any) -> None:
    """Attend with all queries of a ragged batch over caches that already hold their own keys and values.

    Args:
        q: `[tokens, heads or more, head_dim]`: query heads come first; others may follow.
        layer: whose keys and values are read.
        kv_heads: number of key heads.
        window: number of last keys that a query sees, its own included; NO_WINDOW for all.
        plan: `tuple(plan.plan(...))`.
        out: `[tokens, heads, head_dim]`.
        counters: `new_counters(2)`.
    """
    attention_items(q, layer, kv_heads, window, plan, out, counters, np.int64(0))
    merge_items(plan, out, counters, np.int64(1))
