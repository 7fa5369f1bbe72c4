"""Numbers: objects by number, in order of appearance. The same run gives the same numbers on every machine."""

from typing import Any


class Numbers:
    """The numbers of objects. It keeps the objects, so that no other one gets the identity of one.

    Example:
        >>> from minillm.trace.numbers import Numbers
        >>> numbers, a, b = Numbers(), [], []
        >>> numbers.of(a), numbers.of(b), numbers.of(a), b in numbers, [] in numbers
        (0, 1, 0, True, False)
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, Any]] = {}  # by identity: the number, and the object
        self._next = 0

    def __contains__(self, thing: object) -> bool:
        return id(thing) in self._known

    def of(self, thing: object) -> int:
        """Return the number of an object, a new one if it has not appeared before."""
        if thing not in self:
            self._known[id(thing)] = self._next, thing
            self._next += 1
        return self._known[id(thing)][0]

    def drop(self, thing: object) -> None:
        """Keep the object no longer. If it appears again, it gets a new number."""
        self._known.pop(id(thing), None)
