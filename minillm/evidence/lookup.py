"""Finding an entry by its id, and helping who mistyped it."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Protocol, TypeVar, runtime_checkable


@runtime_checkable
class HasId(Protocol):
    """A claim, a figure."""

    @property
    def id(self) -> str:
        """Its name."""


Entry = TypeVar("Entry", bound=HasId)


def find_entry(id: str, entries: Iterable[Entry], what: str, command: str) -> Entry:
    """The entry of this id.

    Args:
        id: as the user typed it.
        entries: those there are.
        what: one of them is called.
        command: lists them.

    Raises:
        ValueError: there is none; the message names the closest.
    """
    known = {entry.id: entry for entry in entries}
    if id not in known:
        [close] = get_close_matches(id, known, 1, cutoff=0)
        raise ValueError(f"no {what} {id[:40]!r}; `{command}` lists all {len(known)}; did you mean {close}?")
    return known[id]
