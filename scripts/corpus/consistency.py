"""Slips in a story that the words alone give away: people who come from nowhere, relatives who change, a wrong article.

And a story that turns into a sum or has no end. Every story of the generator is free of them, so they measure how well
a model keeps a story together. What a reader would notice besides is not looked for: a thing that changes its colour
or is found where it was not, a sentence that makes no sense.
"""

import re

from corpus.story_words import BOYS, GIRLS, NEIGHBOURS

NAMES = re.compile(rf"\b({'|'.join(GIRLS + BOYS)})\b(?! you\b)")  # "Will you come back?" calls nobody
INTRODUCED = re.compile(r"(friend|named|called|name is|name was|I am|story of) $")
RELATIVE = re.compile(r"\b(mom|dad|grandma|grandpa)\b", re.IGNORECASE)
GIVER = re.compile(r'"My \w+ gave it to me')  # someone else's relative
ENDING = re.compile(r"""[.!?]"?$""")
TWICE = re.compile(r"\b((?:under|behind|in) [\w ]+) and \1\b")  # looked "under the bed and under the bed"
LONELY = re.compile(r"\b(a [aeiou]\w+|an [^aeiou\W]\w*)", re.IGNORECASE)


def slips(story: str) -> list[str]:
    """What is wrong with a story, a phrase each; empty if nothing was found."""
    neighbours = {entry["neighbour"] for entry in NEIGHBOURS if entry["neighbour"] in story}
    relatives = {word.lower() for word in RELATIVE.findall(GIVER.sub("", story))}
    found = [" and ".join(sorted(people)) for people in (neighbours, relatives) if len(people) > 1]
    found += _names(story)
    found += [f'"{article}"' for article in LONELY.findall(story)]
    found += [f'"{match[0]}"' for match in TWICE.finditer(story)]
    found += ["a number"] * bool(re.search(r"\d", story)) + ["no end"] * (not ENDING.search(story))
    return found + ["two spaces"] * ("  " in story)


def _names(story: str) -> list[str]:
    """Names that nothing introduces (but the first one, the hero's), and a hero who is their own friend."""
    known: list[str] = []
    found = []
    for match in NAMES.finditer(story):
        name, before = match[0], story[: match.start()]
        if known and name not in known and not INTRODUCED.search(before):
            found.append(f"{name} comes from nowhere")
        if known and name == known[0] and before.endswith("friend "):
            found.append(f"{name} is their own friend")
        known.append(name)
    return found
