"""Exactness, measured: one prompt on every backend in every schedule, and one hash of the exact backend's logits.

In exact arithmetic a token's logits depend only on the tokens before it. In floating point they also depend on what
is computed in the same batch, because sums are rounded in another order. The differences are small, but sometimes
large enough to change the text. This module measures them.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from minillm.arrays import Array, Float
from minillm.decode import decode_step
from minillm.kv_cache.contiguous import KVCache
from minillm.model import Model
from minillm.prefill import prefill
from minillm.sampling import greedy
from minillm.transformer import forward, forward_batch

PROMPT = (
    "Once upon a time there was a small robot who wanted to know how everything works. One day it asked an old owl: "
    '"What is the capital of France, and how much is 12 + 30?" The owl said:'
)
CHUNK = 7  # tokens of the prompt per pass of the chunked prefill
COMPANY = 5  # other sequences in the batch

Rows = Float[Array, "new_tokens vocab"]


@dataclass(frozen=True)
class Comparison:
    """One schedule compared with naive decoding.

    Attributes:
        schedule: a key of SCHEDULES.
        tokens: the new tokens, chosen greedily.
        largest_difference: between any two logits, up to the first token that differs.
        first_difference: the index of the first new token that differs; None if all are equal.
    """

    schedule: str
    tokens: list[int]
    largest_difference: float
    first_difference: int | None


def logits_hash(logits: Float[Array, "tokens vocab"]) -> str:
    """Return SHA-256 of the logits as bytes: float64, little-endian, token after token; -0.0 counts as 0.0."""
    return hashlib.sha256((logits + 0.0).astype("<f8").tobytes()).hexdigest()


def alone(model: Model, prompt: list[int], new_tokens: int) -> Rows:
    """Decode naively: run the whole sequence again for each new token. Return the logits each token was chosen from."""
    tokens, rows = list(prompt), []
    for _ in range(new_tokens):
        rows.append(model.ops.to_host(forward(model, tokens)[-1]))
        tokens.append(greedy(rows[-1]))
    return np.stack(rows)


def cached(model: Model, prompt: list[int], new_tokens: int, chunk: int | None = None) -> Rows:
    """Run the prompt in one pass, or in chunks, then each new token in one pass."""
    cache = KVCache(model, len(prompt) + new_tokens)
    rows = [model.ops.to_host(prefill(model, prompt, cache, chunk))]
    while len(rows) < new_tokens:
        rows.append(model.ops.to_host(decode_step(model, greedy(rows[-1]), cache)))
    return np.stack(rows)


def chunked(model: Model, prompt: list[int], new_tokens: int) -> Rows:
    """Run the prompt in chunks of CHUNK tokens, then each new token in one pass."""
    return cached(model, prompt, new_tokens, CHUNK)


def batched(model: Model, prompt: list[int], new_tokens: int) -> Rows:
    """Run the sequence in a batch with others, which begin with its prompt's last tokens, and decode them all."""
    starts = [n * len(prompt) // (COMPANY + 1) for n in range(COMPANY, -1, -1)]  # the last is 0: the prompt itself
    caches = [KVCache(model, len(prompt) + new_tokens) for _ in starts]
    to_host = model.ops.to_host
    logits = to_host(forward_batch(model, [(prompt[n:], cache) for n, cache in zip(starts, caches, strict=True)]))
    rows = [logits[-1]]
    while len(rows) < new_tokens:
        tokens = [[greedy(row)] for row in logits]
        logits = to_host(forward_batch(model, list(zip(tokens, caches, strict=True))))
        rows.append(logits[-1])
    return np.stack(rows)


SCHEDULES: dict[str, Callable[[Model, list[int], int], Rows]] = {
    "alone": alone,
    "cached": cached,
    "chunked": chunked,
    "batched": batched,
}


def compare(model: Model, prompt: list[int], new_tokens: int) -> Iterator[Comparison]:
    """Compare every schedule with the first one, naive decoding.

    Args:
        model: the model, on any backend.
        prompt: token ids.
        new_tokens: number of tokens to add, greedily; end-of-sequence tokens do not stop the schedule.

    Raises:
        ValueError: invalid tokens, more tokens than the context holds, or weights that overflow.
    """
    naive = None
    for name, schedule in SCHEDULES.items():
        rows = schedule(model, prompt, new_tokens)
        naive = rows if naive is None else naive
        yield _compared(name, rows, naive)


def _compared(name: str, rows: Rows, naive: Rows) -> Comparison:
    tokens, expected = [greedy(row) for row in rows], [greedy(row) for row in naive]
    first = next((n for n, pair in enumerate(zip(tokens, expected, strict=True)) if pair[0] != pair[1]), None)
    same_input = len(rows) if first is None else first + 1
    return Comparison(name, tokens, float(np.abs(rows - naive)[:same_input].max()), first)
