"""What experiments of the ledger share: a small real model, and the passes that are made through it.

The engine is imported by the functions that run it, so that estimates need none of it.
"""

from copy import copy
from dataclasses import replace
from functools import cache
from typing import Any


@cache
def small_model(backend: str = "numpy") -> Any:
    """`story-draft`, which comes with minillm and loads in no time."""
    from minillm.loading.load import load

    return load("story-draft", backend)


PROMPT = "Once upon a time there was a cat who lived by the sea."


def prompt_ids() -> list[int]:
    """The prompt of all experiments."""
    return list(small_model().tokenizer.encode(PROMPT))


def watched_passes(model: Any) -> tuple[Any, list[int]]:
    """The same model, and a list to which each forward pass adds how many tokens it ran."""
    passes: list[int] = []
    ops = copy(model.ops)

    def rotation(positions: Any, *others: Any) -> Any:  # asked for once in a pass, for the positions of all its tokens
        passes.append(len(positions))
        return model.ops.cos_sin(positions, *others)

    ops.cos_sin = rotation
    return replace(model, ops=ops), passes
