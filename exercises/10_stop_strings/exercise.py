"""Stop strings: found across tokens, and never shown.

Where the engine does it: `TextStream` in minillm/text/text_stream.py. Text arrives in pieces, one for each token, and a
stop string may be split over several; so text that could be the beginning of one is held back until it is certain.
"""


# %% learner
def stop_strings(pieces: list[str], stop: list[str]) -> list[str]:
    """What a stream shows after each piece.

    pieces: the text of each token, in order.
    stop: texts that end the stream, none of them empty; neither they nor anything behind them is shown.
    returns: one text for each piece, the text that became certain with it (perhaps ""), and one more for the end, when
        what is still held is shown. As much as possible is shown at once: held is only the longest ending of the text
        that is the beginning of a stop string. If several are found, the one that begins first counts.
    """
    # %% solution
    held, shown, stopped = "", [], False
    for piece in pieces:
        held += "" if stopped else piece
        found = [held.find(text) for text in stop if text in held]
        lengths = range(min(len(held), max(len(text) for text in stop) - 1), 0, -1)
        keep = next((n for n in lengths if any(text.startswith(held[-n:]) for text in stop)), 0)
        cut = min(found) if found else len(held) - keep
        stopped = stopped or bool(found)
        shown.append(held[:cut])
        held = "" if stopped else held[cut:]
    return [*shown, held]


# %% hints
HINTS = (
    "Keep the text that was not shown yet. After each piece ask: does it hold a stop string? If not, could its ending "
    "be the beginning of one?",
    "held is one text; for n from the longest possible down to 1, held[-n:] is an ending of n characters, and "
    "text.startswith(held[-n:]) says whether it begins a stop string.",
    "1. add the piece to held; 2. if a stop string is in it: show what is before, and nothing from then on; 3. else "
    "find the longest ending to keep, show the rest; 4. at the end show what is held.",
    "keep = next((n for n in lengths if any(text.startswith(held[-n:]) for text in stop)), 0)",
)


# %% check
LESSON = 5
CONCEPTS = ("decode", "streaming")


def cases(random):
    texts = [
        (["a"], ["b"]),
        (["ab", "c"], ["b"]),
        (["a", "EN", "D", "b"], ["END"]),
        (["a", "EN", "b"], ["END"]),
        (["one E", "N"], ["END"]),
        (["aa", "ab"], ["aab"]),
        (["say END now"], ["END"]),
        (["xENDyEND", "z"], ["END"]),
        (["a\n", "\nQ", ": b"], ["\n\nQ:", "###"]),
        (["x#", "#", "y##", "#z"], ["###", "z"]),
        (["ab", "ab", "ac"], ["abac"]),
    ]
    for pieces, stop in texts:
        yield {"pieces": pieces, "stop": stop}
    for _ in range(12):
        letters = ["".join(random.choice(list("ab"), random.integers(1, 4))) for _ in range(random.integers(2, 6))]
        yield {"pieces": letters, "stop": ["".join(random.choice(list("ab"), random.integers(2, 5)))]}


def stop_is_never_shown(inputs, result, run):
    """No stop string is ever part of what was shown."""
    return not any(text in "".join(result) for text in inputs["stop"])


def nothing_is_lost(inputs, result, run):
    """If no stop string came, everything is shown in the end."""
    whole = "".join(inputs["pieces"])
    return any(text in whole for text in inputs["stop"]) or "".join(result) == whole


PROPERTIES = (stop_is_never_shown, nothing_is_lost)
