"""Counting up and down, by ones, twos, fives and tens. A held-out (first, last) is never counted in training."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from corpus import split

LARGEST = 100
STEPS = (1, 2, 5, 10)
SMALL, SMALL_SHARE = 20, 0.35  # of the documents stay below 20, where to stop is the hardest to learn
LENGTHS = (3, 12)  # how many numbers


class Count(NamedTuple):
    """Counting from `first` to `last`; `step` is negative when it goes down."""

    first: int
    last: int
    step: int


def is_heldout(count: Count) -> bool:
    """Whether this count is never shown in training."""
    return split.is_heldout(f"count {count.first} {count.last} {count.step}")


def prompt_and_answer(count: Count) -> tuple[str, str]:
    """For example ("Count from 3 to 5:", " 3, 4, 5.")."""
    way = "down " if count.step < 0 else ""
    size = abs(count.step)
    by = "" if size == 1 else f" by {size}"
    numbers = range(count.first, count.last + (1 if count.step > 0 else -1), count.step)
    return f"Count {way}from {count.first} to {count.last}{by}:", " " + ", ".join(map(str, numbers)) + "."


def all_counts() -> list[Count]:
    """Every count that fits into 0 to 100."""
    lengths = range(LENGTHS[0], LENGTHS[1] + 1)
    signed = [step * sign for step in STEPS for sign in (1, -1)]
    ways = ((first, first + step * (n - 1), step) for step in signed for n in lengths for first in range(LARGEST + 1))
    return [Count(*way) for way in ways if 0 <= way[1] <= LARGEST]


def documents(rng: Random) -> Iterator[str]:
    """Training documents without end, of all steps alike."""
    shown = [count for count in all_counts() if not is_heldout(count)]
    by_step = [[count for count in shown if abs(count.step) == step] for step in STEPS]
    small = [count for count in shown if max(count.first, count.last) < SMALL]
    while True:
        counts = small if rng.random() < SMALL_SHARE else rng.choice(by_step)
        yield "".join(prompt_and_answer(rng.choice(counts)))
