"""Find an entry by its id, and name the closest id if it does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Protocol, TypeVar, runtime_checkable


@runtime_checkable
class HasId(Protocol):
    """A claim or a figure."""

    @property
    def id(self) -> str:
        """Return its name."""


Entry = TypeVar("Entry", bound=HasId)


def find_entry(id: str, entries: Iterable[Entry], what: str, command: str) -> Entry:
    """Return the entry with this id.

    Args:
        id: as the user typed it.
        entries: all entries.
        what: the word for one entry, such as "claim".
        command: prints the list of entries.

    Raises:
        ValueError: the id does not exist; the message names the closest one.
    """
    known = {entry.id: entry for entry in entries}
    if id not in known:
        [close] = get_close_matches(id, known, 1, cutoff=0)
        raise ValueError(f"no {what} {id[:40]!r}; `{command}` lists all {len(known)}; did you mean {close}?")
    return known[id]
