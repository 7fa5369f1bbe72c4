"""Numbers: objects by number, in order of appearance. The same run gives the same numbers on every machine."""

from typing import Any


class Numbers:
    """The numbers of objects. It keeps the objects, so that no other one gets the identity of one.

    >>> numbers, a, b = Numbers(), [], []
    >>> numbers.of(a), numbers.of(b), numbers.of(a), numbers.objects
    (0, 1, 0, [[], []])
    """

    def __init__(self) -> None:
        self.objects: list[Any] = []
        self._numbers: dict[int, int] = {}

    def __contains__(self, thing: object) -> bool:
        return id(thing) in self._numbers

    def of(self, thing: object) -> int:
        """Return the number of an object, a new one if it has not appeared before."""
        if thing not in self:
            self._numbers[id(thing)] = len(self.objects)
            self.objects.append(thing)
        return self._numbers[id(thing)]
