"""Stop strings: find them across tokens, and never show them.

Where the engine does it: `TextStream` in minillm/text/text_stream.py. Text arrives in pieces, one for each token. A
stop string may be split over several pieces. So text that could be the beginning of a stop string is held back.
"""


# %% learner
def stop_strings(pieces: list[str], stop: list[str]) -> list[str]:
    """Return what a stream shows after each piece.

    pieces: the text of each token, in order.
    stop: strings that end the stream, none of them empty. Neither a stop string nor the text after it is shown.
    returns: one string for each piece, and one more for the end, which is the text still held back. For example, with
        the stop string "END" the pieces "a", "EN", "b" give "a", "", "ENb", "". Show text as early as possible: hold
        back only the longest ending of the text that is the beginning of a stop string. If several stop strings are
        found, the one that begins first counts.
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
    "Keep the text that was not shown yet. After each piece ask: does it contain a stop string? If not, could its "
    "ending be the beginning of one?",
    "held is one string. For n from the longest possible down to 1, held[-n:] is an ending of n characters. "
    "text.startswith(held[-n:]) says whether the stop string `text` begins with it.",
    "1. Append the piece to held. 2. If held contains a stop string: show the text before it, and nothing after that. "
    "3. Else find the longest ending to keep, and show the text before it. 4. At the end show what is held.",
    "keep = next((n for n in lengths if any(text.startswith(held[-n:]) for text in stop)), 0)",
)


# %% check
LESSON = 6
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
        (["aXbY"], ["Y", "X"]),  # both are found: X begins first
        (["aE", "ND"], ["LONGER", "END"]),  # the text ends with the beginning of the shorter one
        (["aB", "c"], ["Bd", "longest"]),
        (["lon", "gest"], ["Bd", "longest"]),
        (["abcd"], ["bc", "abcd"]),  # both are found: bc ends first, but abcd begins first
        (["abcd"], ["abcd", "bc"]),
        (["the end", "e"], ["END"]),
    ]
    for pieces, stop in texts:
        yield {"pieces": pieces, "stop": stop}
    for _ in range(12):
        letters = ["".join(random.choice(list("ab"), random.integers(1, 4))) for _ in range(random.integers(2, 6))]
        yield {"pieces": letters, "stop": ["".join(random.choice(list("ab"), random.integers(2, 5)))]}


def stop_is_never_shown(inputs, result, run):
    """The text that is shown never contains a stop string."""
    return not any(text in "".join(result) for text in inputs["stop"])


def nothing_is_lost(inputs, result, run):
    """If there is no stop string in the text, all of the text is shown."""
    whole = "".join(inputs["pieces"])
    return any(text in whole for text in inputs["stop"]) or "".join(result) == whole


PROPERTIES = (stop_is_never_shown, nothing_is_lost)
