"""A whole result next to the expected one: item by item, where both are structures of a few items.

A slice of four numbers explains a wrong matrix. It does not explain a wrong schedule or block table: there one must see
what comes before and after. So lists, tuples, dicts and arrays of integers are shown whole, if they are small.
"""

from typing import Any

import numpy as np

from minillm.classroom.exercises.compare import Row, same
from minillm.classroom.worker.wire import Other

MOST_ITEMS = 12
LONGEST_ITEM = 120  # characters
MISSING = "(missing)"


def whole_rows(result: Any, expected: Any) -> tuple[Row, ...]:
    """Return (item, yours, expected, "differs" or "") for all items; nothing if they are not structures, or too large.

    >>> whole_rows([[0], [1]], [[0], [1, 2], [2]])
    (('[0]', '[0]', '[0]', ''), ('[1]', '[1]', '[1, 2]', 'differs'), ('[2]', '(missing)', '[2]', 'differs'))
    """
    yours, right = _items(result), _items(expected)
    if yours is None or right is None or max(len(yours), len(right)) > MOST_ITEMS:
        return ()
    rows = tuple(_row(name, yours, right) for name in dict.fromkeys([*right, *yours]))
    too_long = any(len(cell) > LONGEST_ITEM for row in rows for cell in row)
    return () if too_long else rows


def _row(name: str, yours: dict[str, Any], right: dict[str, Any]) -> Row:
    equal = name in yours and name in right and same(yours[name], right[name])
    own, expected = (_text(side[name]) if name in side else MISSING for side in (yours, right))
    return (name, own, expected, "" if equal else "differs")


def _items(value: Any) -> dict[str, Any] | None:
    """Return the items of a structure by their names, or None if it is not one."""
    if isinstance(value, dict):
        return {repr(key): item for key, item in value.items()}
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim and value.dtype.kind in "iub"):
        return {f"[{number}]": item for number, item in enumerate(value)} if len(value) <= MOST_ITEMS else None
    return None


def _text(value: Any) -> str:
    """Return an item as one line: an array as nested lists, numbers with 6 digits."""
    if isinstance(value, np.ndarray | np.generic):
        return _text(value.tolist()) if value.size <= LONGEST_ITEM else " " * (LONGEST_ITEM + 1)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]" if len(value) <= LONGEST_ITEM else " " * (LONGEST_ITEM + 1)
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"({value.type_name[:60]})" if isinstance(value, Other) else repr(value)
