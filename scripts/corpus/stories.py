"""Little stories: a cast, an opening, a plot's beats and a moral, all from the same slots.

A template's slots, such as {hero}, {his} or {thing}, are filled once for the whole story, so names, pronouns, things
and places stay the same from its first sentence to its last. Slots named in `SYNONYMS` are filled anew at each use.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, TypeVar

from corpus import split
from corpus.plots_courage import COURAGE_PLOTS
from corpus.plots_finding import FINDING_PLOTS
from corpus.plots_kindness import KINDNESS_PLOTS
from corpus.plots_making import MAKING_PLOTS
from corpus.story_words import (
    ADULTS,
    ANIMALS,
    BOYS,
    COLOURS,
    GIRLS,
    HOBBIES,
    HOMES,
    NEIGHBOURS,
    SYNONYMS,
    TRAITS,
)

PLOTS = (*FINDING_PLOTS, *COURAGE_PLOTS, *KINDNESS_PLOTS, *MAKING_PLOTS)
ANIMAL_SHARE = 0.25
SKEW = 1.6  # see `pick`
HELDOUT_PERCENT = 2
SHE = ("she", "her", "her")
HE = ("he", "him", "his")

OPENINGS = (
    "Once upon a time, there was a {size} {kind} named {hero}.",
    "Once upon a time, there was {a_trait} {kind} named {hero}.",
    "There once was a {size} {kind} called {hero}.",
    "{hero} was {a_trait} {kind}.",
    "It was a {sunny} morning. A {size} {kind} named {hero} was awake early.",
    "Long ago, there lived {a_trait} {kind} named {hero}.",
    "Once there was {a_trait} {size} {kind}. {His} name was {hero}.",
    "{hero} was a {size} {kind}.",
    "This is the story of {hero}, {a_trait} {kind}.",
)
SECOND_SENTENCES = (
    "{He} lived {home} with {his} {mom}.",
    "{He} loved to {hobby}.",
    "",
    "Everyone liked {hero}.",
    "Every day, {he} liked to {hobby} with {his} {mom}.",
    "{Hero} and {his} {mom} lived {home}.",
    "What {hero} liked best was to {hobby}.",
)

Item = TypeVar("Item")


def pick(rng: Random, choices: Sequence[Item]) -> Item:
    """One of the choices, the earlier the likelier, as in real books: greedy decoding then has a clear favourite."""
    return choices[int(len(choices) * rng.random() ** SKEW)]


class Slots(dict[str, str]):
    """What fills a template: {hero}; {Hero} begins with a capital; {a_thing} has its article; synonyms vary."""

    def __init__(self, rng: Random) -> None:
        """Without any slot filled yet."""
        super().__init__()
        self.rng = rng

    def __missing__(self, slot: str) -> str:
        """A synonym, or a slot with its article or capital."""
        if slot in SYNONYMS:
            return pick(self.rng, SYNONYMS[slot])
        if slot.startswith("a_"):
            return with_article(self[slot[2:]])
        if slot[0].isupper():
            return capitalised(self[slot[0].lower() + slot[1:]])
        raise KeyError(slot)


def write(rng: Random) -> tuple[str, Slots]:
    """A story, and the slots it was written with."""
    plot = pick(rng, PLOTS)
    slots = Slots(rng)
    _cast(slots, animals=plot.animals and rng.random() < ANIMAL_SHARE)
    for names, table in plot.slots.items():
        _fill(slots, names.split(), table)
    beats = (OPENINGS, SECOND_SENTENCES, *plot.beats)
    sentences = (capitalised(pick(rng, beat).format_map(slots)) for beat in beats)
    return " ".join(sentence for sentence in sentences if sentence), slots


def is_heldout(text: str) -> bool:
    """Whether this story is held out."""
    return split.is_heldout("story " + text, HELDOUT_PERCENT)


def documents(rng: Random) -> Iterator[str]:
    """Stories without end, of training and held-out ones alike: ask `is_heldout`."""
    while True:
        yield write(rng)[0]


def with_article(noun: str) -> str:
    """For example "an apple"."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def capitalised(text: str) -> str:
    """The text with its first letter, which may follow a quotation mark, as a capital."""
    start = 1 if text.startswith('"') else 0
    return text[:start] + text[start : start + 1].upper() + text[start + 1 :]


def _cast(slots: Slots, animals: bool) -> None:
    """Who is in the story: the hero, a friend, a grown-up of the family, a neighbour."""
    rng = slots.rng
    hero_is_girl, pal_is_girl = rng.random() < 0.5, rng.random() < 0.5
    # Of all people alike: who it is can only be known by looking back, so the model has to learn to look.
    slots["hero"] = rng.choice(GIRLS if hero_is_girl else BOYS)
    slots["pal"] = rng.choice([name for name in (GIRLS if pal_is_girl else BOYS) if name != slots["hero"]])
    slots["he"], slots["him"], slots["his"] = SHE if hero_is_girl else HE
    slots["phe"], slots["phim"], slots["phis"] = SHE if pal_is_girl else HE
    slots["himself"] = "herself" if hero_is_girl else "himself"
    kinds = rng.sample(ANIMALS, 2) if animals else ["girl" if girl else "boy" for girl in (hero_is_girl, pal_is_girl)]
    slots["kind"], slots["pal_kind"] = kinds
    slots["friend"] = f"friend {slots['pal']}" + (f" the {kinds[1]}" if animals else "")
    for name, table in {"trait": TRAITS, "home": HOMES, "hobby": HOBBIES, "colour": COLOURS}.items():
        slots[name] = pick(rng, table)
    slots.update(rng.choice(ADULTS))
    slots.update(rng.choice(NEIGHBOURS))


def _fill(slots: Slots, names: list[str], table: Sequence[Any]) -> None:
    """Several names of one table get different entries; a row that is a dict fills the slots it names."""
    first = pick(slots.rng, table)
    if isinstance(first, dict):
        slots.update(first)
        return
    others = slots.rng.sample([entry for entry in table if entry != first], len(names) - 1)
    slots.update(zip(names, [first, *others], strict=True))
