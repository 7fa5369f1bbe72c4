"""Any schedule at all of several sequences; each row of logits must be the naive path's: to the bit, or nearly."""

from collections.abc import Callable, Sequence
from random import Random

import numpy as np

import minillm


def assert_any_schedule_is_naive(
    model: minillm.Model,
    sequences: Sequence[Sequence[int]],
    random: Random,
    same: Callable[[np.ndarray, np.ndarray], bool] = np.array_equal,
    cache_dtype: str | None = None,
) -> None:
    """Run the sequences to their ends in random batches: any company, any order, any number of tokens at a time.

    On the way, caches are cut back, so that their tokens come again, and replaced by copies of others, cut to the
    tokens that both begin with.
    """
    to_host = model.ops.to_host
    naive = [to_host(minillm.forward(model, tokens, cache_dtype)) for tokens in sequences]
    caches = [minillm.KVCache(model, max(map(len, sequences)), cache_dtype) for _ in sequences]
    setbacks = 2 * len(sequences)
    while unfinished := [n for n, cache in enumerate(caches) if cache.length < len(sequences[n])]:
        chosen = random.sample(unfinished, random.randint(1, len(unfinished)))
        parts = {n: _next_part(caches[n].length, len(sequences[n]), random) for n in chosen}
        batch = [(sequences[n][part], caches[n]) for n, part in parts.items()]
        logits = minillm.forward_batch(model, batch, logit_rows=[len(tokens) for tokens, _ in batch])
        assert same(to_host(logits), np.concatenate([naive[n][part] for n, part in parts.items()]))
        if setbacks and random.random() < 0.3:
            setbacks -= 1
            _set_back(random.randrange(len(caches)), sequences, caches, random)


def _next_part(start: int, end: int, random: Random) -> slice:
    """One token, as in decoding, or some or all that are left."""
    return slice(start, random.choice([start + 1, random.randint(start + 1, end)]))


def _set_back(number: int, sequences: Sequence[Sequence[int]], caches: list[minillm.KVCache], random: Random) -> None:
    """Truncate one cache, or fork it from one that holds the tokens with which it begins."""
    other = random.randrange(len(caches))
    shared = _common(sequences[number], sequences[other][: caches[other].length])
    if shared:
        caches[number] = caches[other].fork()
        caches[number].truncate(shared)
    else:
        caches[number].truncate(random.randint(0, caches[number].length))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    shortest = min(len(one), len(other))
    return next((n for n in range(shortest) if one[n] != other[n]), shortest)
