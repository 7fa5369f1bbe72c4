"""Wrong answers to `stop_strings`."""


def _stream(pieces, stop, keep_of, flush=True):
    held, shown, stopped = "", [], False
    for piece in pieces:
        held += "" if stopped else piece
        found = [held.find(text) for text in stop if text in held]
        cut = min(found) if found else len(held) - keep_of(held, stop)
        stopped = stopped or bool(found)
        shown.append(held[:cut])
        held = "" if stopped else held[cut:]
    return [*shown, held if flush else ""]


def _longest(held, stop):
    lengths = range(min(len(held), max(len(text) for text in stop) - 1), 0, -1)
    return next((n for n in lengths if any(text.startswith(held[-n:]) for text in stop)), 0)


def only_inside_one_piece(pieces, stop):
    """Each piece was searched by itself: a stop string may be split over several pieces."""
    return _stream(pieces, stop, lambda held, stop: 0)


def held_text_lost(pieces, stop):
    """The text held back is lost at the end: when no more pieces come, show it."""
    return _stream(pieces, stop, _longest, flush=False)


def all_held_to_the_end(pieces, stop):
    """All text was held until the end: hold only text that could be the beginning of a stop string."""
    return _stream(pieces, stop, lambda held, stop: len(held))


def always_the_same_number_held(pieces, stop):
    """A fixed number of characters was always held: hold only what could be the beginning of a stop string."""
    return _stream(pieces, stop, lambda held, stop: min(len(held), max(len(text) for text in stop) - 1))


def shortest_ending_held(pieces, stop):
    """The shortest ending was held: if a longer ending begins a stop string too, hold the longer one."""

    def shortest(held, stop):
        lengths = range(1, min(len(held), max(len(text) for text in stop) - 1) + 1)
        return next((n for n in lengths if any(text.startswith(held[-n:]) for text in stop)), 0)

    return _stream(pieces, stop, shortest)


def goes_on_after_a_stop(pieces, stop):
    """Text after the stop string is shown: the stream ends there."""
    held, shown = "", []
    for piece in pieces:
        held += piece
        keep = _longest(held, stop)
        for text in stop:
            held = held.replace(text, "")
        keep = min(keep, len(held))
        shown.append(held[: len(held) - keep])
        held = held[len(held) - keep :]
    return [*shown, held]


def stop_shown(pieces, stop):
    """The stop string itself is shown: the text ends before it."""
    held, shown, stopped = "", [], False
    for piece in pieces:
        held += "" if stopped else piece
        ends = [held.find(text) + len(text) for text in stop if text in held]
        cut = min(ends) if ends else len(held) - _longest(held, stop)
        stopped = stopped or bool(ends)
        shown.append(held[:cut])
        held = "" if stopped else held[cut:]
    return [*shown, held]


def first_of_the_list(pieces, stop):
    """The first stop string of the list was taken: if several are found, the one that begins first counts."""
    held, shown, stopped = "", [], False
    for piece in pieces:
        held += "" if stopped else piece
        found = [held.find(text) for text in stop if text in held]
        cut = found[0] if found else len(held) - _longest(held, stop)
        stopped = stopped or bool(found)
        shown.append(held[:cut])
        held = "" if stopped else held[cut:]
    return [*shown, held]


def held_for_the_longest_stop_only(pieces, stop):
    """Text was held for the longest stop string only: an ending may be the beginning of any of them."""
    return _stream(pieces, stop, lambda held, stop: _longest(held, [max(stop, key=len)]))


def held_as_long_as_the_first_stop(pieces, stop):
    """No more was held than the first stop string needs: another one may be longer, so use the longest length."""

    def keep_of(held, stop):
        lengths = range(min(len(held), len(stop[0]) - 1), 0, -1)
        return next((n for n in lengths if any(text.startswith(held[-n:]) for text in stop)), 0)

    return _stream(pieces, stop, keep_of)


def first_to_end(pieces, stop):
    """The stop string that ends first was taken: if several are found, the one that begins first counts."""
    held, shown, stopped = "", [], False
    for piece in pieces:
        held += "" if stopped else piece
        found = [(held.find(text) + len(text), held.find(text)) for text in stop if text in held]
        cut = min(found)[1] if found else len(held) - _longest(held, stop)
        stopped = stopped or bool(found)
        shown.append(held[:cut])
        held = "" if stopped else held[cut:]
    return [*shown, held]


def without_regard_to_case(pieces, stop):
    """Upper and lower case were not distinguished: "end" is not the stop string "END"."""
    held, shown, stopped = "", [], False
    small = [text.lower() for text in stop]
    for piece in pieces:
        held += "" if stopped else piece
        found = [held.lower().find(text) for text in small if text in held.lower()]
        cut = min(found) if found else len(held) - _longest(held.lower(), small)
        stopped = stopped or bool(found)
        shown.append(held[:cut])
        held = "" if stopped else held[cut:]
    return [*shown, held]
