"""Sums of two numbers from 0 to 99. A held-out pair appears in training in neither order."""

from collections.abc import Iterator
from random import Random

from corpus import split

LARGEST = 99
SMALL_PAIR_COPIES = 4  # pairs of two one-digit numbers are few (1%), and the first that anyone tries
FORMATS = ("{a} + {b} = {c}.", "Q: What is {a} + {b}? A: {c}.", "{a} plus {b} is {c}.")
FORMAT_ODDS = (4, 5, 1)
DIGIT_SHARE = 0.25  # of the sums have a number of one digit, which few pairs do: they would be the last to be learnt
DENSE_SHARE = 0.7  # of the documents that ask no question hold many sums: more examples a token
DENSE_LENGTHS = (6, 12)


def is_heldout(a: int, b: int) -> bool:
    """Whether a + b, and b + a with it, is never shown in training."""
    return split.is_heldout(f"sum {min(a, b)} {max(a, b)}")


def training_pairs() -> list[tuple[int, int]]:
    """Every ordered pair shown in training, small ones several times."""
    pairs = [pair for pair in _all_pairs() if not is_heldout(*pair)]
    return pairs + (SMALL_PAIR_COPIES - 1) * [pair for pair in pairs if max(pair) < 10]


def pairs_with_a_digit() -> list[tuple[int, int]]:
    """The training pairs of which one number or both are a single digit."""
    return [pair for pair in training_pairs() if min(pair) < 10]


def heldout_pairs() -> list[tuple[int, int]]:
    """Every ordered pair held out."""
    return [pair for pair in _all_pairs() if is_heldout(*pair)]


def documents(rng: Random) -> Iterator[str]:
    """Training documents without end; the pairs come from decks that are shuffled anew when they are used up.

    A question stands alone, so that the text ends after its answer.
    """
    pairs, with_a_digit = _deal(training_pairs(), rng), _deal(pairs_with_a_digit(), rng)
    while True:
        template = rng.choices(FORMATS, FORMAT_ODDS)[0]
        dense = not template.startswith("Q") and rng.random() < DENSE_SHARE
        count = rng.randint(*DENSE_LENGTHS) if dense else 1
        decks = [with_a_digit if rng.random() < DIGIT_SHARE else pairs for _ in range(count)]
        yield rng.choice((" ", "\n")).join(sentence(template, *next(deck)) for deck in decks)


def sentence(template: str, a: int, b: int) -> str:
    """One sum in one of `FORMATS`."""
    return template.format(a=a, b=b, c=a + b)


def _all_pairs() -> list[tuple[int, int]]:
    return [(a, b) for a in range(LARGEST + 1) for b in range(LARGEST + 1)]


def _deal(cards: list[tuple[int, int]], rng: Random) -> Iterator[tuple[int, int]]:
    while True:
        rng.shuffle(cards)
        yield from cards
