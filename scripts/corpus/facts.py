"""Facts in several phrasings. Each fact is in training, all but one of its phrasings with it.

A phrasing is (prompt, answer): the document is both, with a space between and a full stop after. The first two of a
kind are the main ones: always in training, at least half of the documents.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random
from typing import NamedTuple

from corpus.fact_tables import CAPITALS, COLOURS, DAYS, MONTHS, OPPOSITE_PAIRS, SOUNDS

MAIN_PHRASINGS = 2
MAIN_SHARE = 0.6  # of a kind's documents

# {Subject} and {Answer} begin with a capital letter.
PHRASINGS = {
    "capital": (
        ("The capital of {subject} is", "{answer}"),
        ("Q: What is the capital of {subject}? A:", "{Answer}"),
        ("What is the capital of {subject}?", "{Answer}"),
        ("What is the capital of {subject}? The capital of {subject} is", "{answer}"),
        ("The capital city of {subject} is", "{answer}"),
        ("Q: Which city is the capital of {subject}? A:", "{Answer}"),
        ("In {subject}, the capital is", "{answer}"),
        ("{Answer} is the capital of", "{subject}"),
        ("Q: {Answer} is the capital of which country? A:", "{Subject}"),
    ),
    "colour": (
        ("The color of {subject} is", "{answer}"),
        ("Q: What color is {subject}? A:", "{Answer}"),
        ("What color is {subject}?", "{Answer}"),
        ("{Subject} is", "{answer}"),
        ("Q: What is the color of {subject}? A:", "{Answer}"),
        ("Q: What colour is {subject}? A:", "{Answer}"),
    ),
    "opposite": (
        ("The opposite of {subject} is", "{answer}"),
        ("Q: What is the opposite of {subject}? A:", "{Answer}"),
        ("What is the opposite of {subject}?", "{Answer}"),
        ("The word that is opposite to {subject} is", "{answer}"),
        ("Q: Which word is the opposite of {subject}? A:", "{Answer}"),
    ),
    "sound": (
        ("The {subject} says", "{answer}"),
        ("Q: What does the {subject} say? A:", "{Answer}"),
        ("What sound does the {subject} make?", "{Answer}"),
        ("The sound of the {subject} is", "{answer}"),
        ("Q: What sound does the {subject} make? A:", "{Answer}"),
    ),
    "calendar": (
        ("The {unit} {way} {subject} is", "{answer}"),
        ("Q: What {unit} comes {way} {subject}? A:", "{answer}"),
        ("What {unit} comes {way} {subject}?", "{answer}"),
        ("Q: Which {unit} is {way} {subject}? A:", "{answer}"),
        ("Just {way} {subject} comes", "{answer}"),
    ),
    "counting": (
        ("The number {way} {subject} is", "{answer}"),
        ("Q: What comes {way} {subject}? A:", "{answer}"),
        ("What number comes {way} {subject}?", "{answer}"),
        ("Q: What number comes {way} {subject}? A:", "{answer}"),
        ("Just {way} {subject} comes", "{answer}"),
    ),
}


class Fact(NamedTuple):
    """One thing to know: about `subject`, the answer is `answer`. `way` is "after" or "before", `unit` day or month."""

    kind: str
    subject: str
    answer: str
    way: str = ""
    unit: str = ""


def all_facts(kind: str) -> list[Fact]:
    """Every fact of a kind, in a fixed order."""
    tables = {"capital": CAPITALS, "colour": COLOURS, "sound": SOUNDS}
    if kind == "opposite":
        pairs = OPPOSITE_PAIRS.items()
        return [Fact(kind, a, b) for one, other in pairs for a, b in ((one, other), (other, one))]
    if kind == "calendar":
        circles = (("day", DAYS), ("month", MONTHS))
        return [fact for unit, names in circles for fact in _neighbours(kind, [*names, names[0]], unit)]
    if kind == "counting":
        return _neighbours(kind, [str(number) for number in range(101)])
    return [Fact(kind, subject, answer) for subject, answer in tables[kind].items()]


def phrase(fact: Fact, phrasing: int) -> tuple[str, str]:
    """Prompt and answer: ("The capital of France is", " Paris.")."""
    prompt, answer = PHRASINGS[fact.kind][phrasing]
    words = fact._asdict() | {"Subject": _capitalised(fact.subject), "Answer": _capitalised(fact.answer)}
    return prompt.format_map(words), f" {answer.format_map(words)}."


def heldout_phrasing(fact: Fact) -> int:
    """The phrasing, never a main one, in which this fact is not shown; it goes round from fact to fact."""
    others = len(PHRASINGS[fact.kind]) - MAIN_PHRASINGS
    return MAIN_PHRASINGS + all_facts(fact.kind).index(fact) % others


def documents(kind: str, rng: Random) -> Iterator[str]:
    """Training documents without end; every fact comes equally often."""
    facts = [(fact, heldout_phrasing(fact)) for fact in all_facts(kind)]
    others = range(MAIN_PHRASINGS, len(PHRASINGS[kind]))
    while True:
        rng.shuffle(facts)
        for fact, heldout in facts:
            if rng.random() < MAIN_SHARE:
                phrasing = rng.randrange(MAIN_PHRASINGS)
            else:
                phrasing = rng.choice([other for other in others if other != heldout])
            yield "".join(phrase(fact, phrasing))


def _neighbours(kind: str, names: Sequence[str], unit: str = "") -> list[Fact]:
    pairs = list(pairwise(names))
    after = [Fact(kind, one, following, "after", unit) for one, following in pairs]
    return after + [Fact(kind, following, one, "before", unit) for one, following in pairs]


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
