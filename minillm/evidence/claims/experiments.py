"""A small real model for the ledger's experiments, and a way to watch the passes through it.

Functions import the engine only when they run it, so that estimates need none of it.
"""

from copy import copy
from dataclasses import replace
from functools import cache
from typing import Any


@cache
def small_model(backend: str = "numpy", weights: str = "float32") -> Any:
    """Load `story-draft`, which is bundled with minillm and small."""
    from minillm.loading.load import load

    return load("story-draft", backend, weights=weights)


PROMPT = "Once upon a time there was a cat who lived by the sea."


def prompt_ids() -> list[int]:
    """Return the token ids of PROMPT, the prompt of all experiments."""
    return list(small_model().tokenizer.encode(PROMPT))


def watched_passes(model: Any) -> tuple[Any, list[int]]:
    """Return a copy of the model, and a list to which each forward pass appends its number of tokens."""
    passes: list[int] = []
    ops = copy(model.ops)

    def cos_sin(positions: Any, *others: Any) -> Any:  # a pass calls it once, with the positions of all its tokens
        passes.append(len(positions))
        return model.ops.cos_sin(positions, *others)

    ops.cos_sin = cos_sin

    return replace(model, ops=ops), passes
