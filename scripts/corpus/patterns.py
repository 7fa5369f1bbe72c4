"""Copying, repeating and reversing short lists: something clear for attention heads to do.

Each word has a space before it on both sides of the arrow, so that the same token ids come back.
"""

from collections.abc import Iterator, Sequence
from random import Random

from corpus import split

LENGTHS = (2, 6)
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
DIGITS = tuple("0123456789")
WORDS = tuple(
    """apple arm baby bag ball bear bed bee bell big bird black blue boat book box boy bread brown bus cake car cat
    chair cold cow cup dad day desk dog door down duck ear egg eye fan far farm fast fire fish five flag flower fly
    foot fork four fox friend frog game garden girl goat gold good grass green hand happy hat hen hill home horse hot
    house ice ink jam jar jump key king kite lake lamp leaf leg lemon light lion little lock long map milk mom moon
    mouse mud nail near nest net new night nine nose nut oak old one open orange owl pan park pear pen pig pin pink
    pond pot queen rabbit rain red ring river road rock roof room rope rose run salt sand sea seed seven sheep ship
    shoe shop short silver six sky slow snow soap sock soft song soup spoon star stone store sun table tall ten tent
    three tiger toy train tree truck two up wall warm water well wheel white wind window wood wool yellow zoo""".split()
)
POOLS = (WORDS, LETTERS, DIGITS)
POOL_ODDS = (8, 1, 1)
LISTS_A_DOCUMENT = (1, 1, 1, 2, 3)


def is_heldout(words: Sequence[str]) -> bool:
    """Whether this list, and its reverse with it, is never shown in training."""
    return split.is_heldout("list " + min(" ".join(words), " ".join(reversed(words))))


def copy(words: Sequence[str]) -> tuple[str, str]:
    """Prompt and answer: ("Copy: cat sun ->", " cat sun.")."""
    return f"Copy: {' '.join(words)} ->", f" {' '.join(words)}."


def repeat(words: Sequence[str]) -> tuple[str, str]:
    """Prompt and answer: ("Repeat twice: cat sun ->", " cat sun cat sun.")."""
    return f"Repeat twice: {' '.join(words)} ->", f" {' '.join([*words, *words])}."


def reverse(words: Sequence[str]) -> tuple[str, str]:
    """Prompt and answer: ("Reverse: cat sun ->", " sun cat.")."""
    return f"Reverse: {' '.join(words)} ->", f" {' '.join(reversed(words))}."


TASKS = {"copy": copy, "repeat": repeat, "reverse": reverse}


def lists(rng: Random, heldout: bool) -> Iterator[list[str]]:
    """Lists without end, of the training part or of the held-out one."""
    while True:
        words = rng.sample(rng.choices(POOLS, POOL_ODDS)[0], rng.randint(*LENGTHS))
        if is_heldout(words) == heldout:
            yield words


def documents(kind: str, rng: Random) -> Iterator[str]:
    """Training documents without end, of one of `TASKS`."""
    source = lists(rng, heldout=False)
    while True:
        yield "\n".join("".join(TASKS[kind](next(source))) for _ in range(rng.choice(LISTS_A_DOCUMENT)))
