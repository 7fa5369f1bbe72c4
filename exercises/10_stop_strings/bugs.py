"""Wrong answers to `stop_strings`."""


def _longest(held, stop):
    lengths = range(min(len(held), max(len(text) for text in stop) - 1), 0, -1)
    return next((n for n in lengths if any(text.startswith(held[-n:]) for text in stop)), 0)


def _begins(held, stop):
    return [held.find(text) for text in stop if text in held]


def _stream(pieces, stop, keep_of=_longest, cuts_of=_begins, flush=True):
    """Return what is shown: up to the smallest cut, else all but the number of characters to keep."""
    held, shown, stopped = "", [], False
    for piece in pieces:
        held += "" if stopped else piece
        cuts = cuts_of(held, stop)
        cut = min(cuts) if cuts else len(held) - keep_of(held, stop)
        stopped = stopped or bool(cuts)
        shown.append(held[:cut])
        held = "" if stopped else held[cut:]
    return [*shown, held if flush else ""]


def only_inside_one_piece(pieces, stop):
    """Each piece was searched by itself: a stop string may be split over several pieces."""
    return _stream(pieces, stop, lambda held, stop: 0)


def held_text_lost(pieces, stop):
    """The text held back is lost at the end: when no more pieces come, show it."""
    return _stream(pieces, stop, flush=False)


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
    return _stream(pieces, stop, cuts_of=lambda held, stop: [held.find(t) + len(t) for t in stop if t in held])


def first_of_the_list(pieces, stop):
    """The first stop string of the list was taken: if several are found, the one that begins first counts."""
    return _stream(pieces, stop, cuts_of=lambda held, stop: _begins(held, stop)[:1])


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

    def cuts_of(held, stop):
        found = [(held.find(text) + len(text), held.find(text)) for text in stop if text in held]
        return [min(found)[1]] if found else []

    return _stream(pieces, stop, cuts_of=cuts_of)


def without_regard_to_case(pieces, stop):
    """Upper and lower case were not distinguished: "end" is not the stop string "END"."""
    small = [text.lower() for text in stop]
    keep_of, cuts_of = (lambda held, _, of=of: of(held.lower(), small) for of in (_longest, _begins))
    return _stream(pieces, stop, keep_of, cuts_of)
