"""Properties of `sample`: its distribution, computed exactly, must be that of the definition.

The engine draws only by `draw(weights)`, which returns an index. So every path of draws can be enumerated, and the
probability of a path is the product of its weights. No random numbers are needed, and no statistics.

The definition, in this order (`minillm.sampling` says where it comes from): divide the logits by the temperature; keep
the `top_k` most probable tokens; of those, keep the most probable ones until their sum is at least `top_p` of it; keep
tokens with at least `min_p` times the largest probability; renormalise.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from minillm.verification.distributions import check_distribution, check_ties, defined_distribution
from minillm.verification.engine_protocol import Engine

LOGITS = st.integers(-8, 8).map(lambda number: number / 4)


def sampling_has_its_distribution(engine: Engine, data: st.DataObject) -> None:
    """Each token must have the probability of the definition."""
    size = data.draw(st.integers(1, 6))
    logits = data.draw(st.lists(LOGITS, min_size=size, max_size=size, unique=True))
    check_distribution(engine, logits, draw_sampling(data, logits))


def tied_tokens_are_kept_by_number(engine: Engine, data: st.DataObject) -> None:
    """Of tokens with equal logits, top_k and top_p must keep the right number. Which ones is not defined."""
    size = data.draw(st.integers(2, 6))
    logits = data.draw(st.lists(st.sampled_from([0.0, 0.5]), min_size=size, max_size=size))
    check_ties(engine, logits, draw_sampling(data, logits))


def draw_sampling(data: st.DataObject, logits: Sequence[float]) -> dict[str, Any]:
    """Return some of the options of sampling, with which rounding does not decide. What is not named has no effect."""
    values: dict[str, st.SearchStrategy[Any]] = {
        "temperature": st.sampled_from([0.5, 0.8, 1.5, 3.0, 0.0]),
        "top_k": st.integers(1, len(logits)),
        "top_p": st.floats(0.01, 0.99).map(lambda number: round(number, 2)),
        "min_p": st.floats(0.01, 0.99).map(lambda number: round(number, 2)),
    }
    subsets = [names for size in range(len(values) + 1) for names in combinations(values, size)]
    drawn = {name: data.draw(strategy) for name, strategy in values.items()}  # all: each one can be left out alone
    options = {name: drawn[name] for name in data.draw(st.sampled_from(subsets))}
    if defined_distribution(logits, **options) is None:
        reject()
    return options
