"""What the properties draw: token lists, whose lengths are small or next to the engine's pages and windows.

A cache that is right in the middle of a page may be wrong at its end. So lengths are drawn from n - 1, n, n + 1, 2n
and 2n + 1 for each size n, too. They need Hypothesis, which shrinks a counterexample to a small one.
"""

from collections.abc import Sequence

from hypothesis import strategies as st

from minillm.verification.engine_protocol import Engine

CAPACITY = 150  # tokens that must fit into a cache, if no page or window is long


def capacity(engine: Engine) -> int:
    """Return how many tokens must fit into a cache."""
    return max(CAPACITY, *(5 * size for size in engine.sizes)) if engine.sizes else CAPACITY


def token_lists(vocab_size: int, max_size: int, min_size: int = 1) -> st.SearchStrategy[list[int]]:
    """Return a strategy for lists of token ids."""
    return st.lists(st.integers(0, vocab_size - 1), min_size=min_size, max_size=max_size)


def sized_lists(engine: Engine, max_size: int, min_size: int = 1) -> st.SearchStrategy[list[int]]:
    """Return a strategy for lists of at most `max_size` token ids, or of lengths next to a page or window."""
    short = token_lists(engine.vocab_size, max_size, min_size)
    lengths = lengths_around(engine.sizes)
    if not lengths:
        return short
    firsts = st.integers(0, engine.vocab_size - 1)
    return short | st.builds(varied, st.sampled_from(lengths), firsts, st.just(engine.vocab_size))


def lengths_around(sizes: Sequence[int]) -> list[int]:
    """Return the lengths at which a page or a window begins or ends.

    >>> lengths_around([4])
    [3, 4, 5, 8, 9]
    """
    near = {length for n in sizes for length in (n - 1, n, n + 1, 2 * n, 2 * n + 1)}
    return sorted(near - {0})


def varied(length: int, first: int, vocab_size: int) -> list[int]:
    """Return many different tokens that need only one draw. In a row of equal tokens, a lost one would not show.

    >>> varied(6, 1, 11)
    [1, 8, 7, 9, 3, 0]
    """
    return [(first + 7 * i * i) % vocab_size for i in range(length)]
