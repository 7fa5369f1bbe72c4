"""Compare a result with the expected one: first the type, then the dtype, then the shape, then the values.

The values of two arrays can only be compared if their shapes are equal. So the values come last.
"""

import itertools
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from minillm.arrays import Array
from minillm.classroom.exercises.forms import ABSOLUTE, RELATIVE, close, forms_of
from minillm.classroom.worker.wire import Other
from minillm.support.checks import shown

Row: TypeAlias = tuple[str, str, str, str]
SHOWN = 4  # values of the slice that begins at the first difference


@dataclass(frozen=True)
class Difference:
    """The first difference.

    Attributes:
        stage: "none", "type", "dtype", "shape" or "value".
        message: the difference in one sentence.
        rows: (index, yours, expected, "differs" or ""), beginning at the first index that differs.
        arrays: the result and the expected values, if they are arrays of the same shape.
    """

    stage: str
    message: str
    rows: tuple[Row, ...] = ()
    arrays: tuple[Array, Array] | None = None

    @property
    def meaning(self) -> str:
        """The likely cause, judged by these arrays alone; an empty string if none is recognised."""
        return next((form.text for form in forms_of(*self.arrays)), "") if self.arrays else ""


def compare(result: Any, expected: Any, name: str = "result") -> Difference | None:
    """Return the first difference between a result and the expected one, or None."""
    if result is None and expected is not None:
        return Difference("none", f"{name} is None; expected {kind_of(expected)}; is a `return` missing?")
    if isinstance(expected, np.ndarray):
        return _compare_arrays(result, expected, name)
    if isinstance(expected, list | tuple):
        return _compare_sequences(result, expected, name)
    if isinstance(expected, dict):
        return _compare_dicts(result, expected, name)
    return _compare_values(result, expected, name)


def same(result: Any, expected: Any) -> bool:
    """Return whether a result equals the expected one."""
    return compare(result, expected) is None


def kind_of(value: Any) -> str:
    """Describe the type of a value in words."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {shape_text(value.shape)}"
    if isinstance(value, Other):
        return f"of type {value.type_name[:60]}"
    return "None" if value is None else f"of type {type(value).__name__}"


def shape_text(shape: tuple[int, ...]) -> str:
    """Return the shape (2, 4, 7) as the text "[2, 4, 7]"."""
    return str(list(shape))


def _compare_arrays(result: Any, expected: Array, name: str) -> Difference | None:
    if not isinstance(result, np.ndarray):
        return Difference("type", f"{name} is {kind_of(result)}; expected {kind_of(expected)}")
    integers = expected.dtype.kind == "i" and result.dtype.kind == "i"  # int64 or int32: the default differs by system
    if result.dtype != expected.dtype and not integers:
        return Difference("dtype", f"{name} has the dtype {result.dtype}; expected {expected.dtype}")
    if result.shape != expected.shape:
        text = f"{name} has the shape {shape_text(result.shape)}; expected {shape_text(expected.shape)}"
        return Difference("shape", text + _shape_hint(result.shape, expected.shape))
    right = close(result, expected)
    if right.all():
        return None
    first = tuple(int(index) for index in np.argwhere(~right)[0])
    count = f"{int((~right).sum())} of {right.size} values differ"
    where = f" at {list(first)}" if first else ""
    yours, correct = _numbers(result[first].item(), expected[first].item())
    text = f"{name} first differs{where}: got {yours}, expected {correct} ({count})"
    return Difference("value", text, _rows(result, expected, first), (result, expected))


def _shape_hint(shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
    for first, second in itertools.combinations(range(len(shape)), 2):
        swapped = list(shape)
        swapped[first], swapped[second] = swapped[second], swapped[first]
        if tuple(swapped) == expected:
            return f"; the axes {first} and {second} seem to be swapped"
    if sorted(shape) == sorted(expected):
        return "; the axes are in a different order"
    if [size for size in shape if size != 1] == [size for size in expected if size != 1]:
        return "; an axis of length 1 is missing or extra: check keepdims and [:, None]"
    return ""


def _numbers(result: Any, expected: Any) -> tuple[str, str]:
    """Return both values as text, with enough digits to see the difference, if there is one."""
    if not isinstance(result, float) or not isinstance(expected, float):
        return _shown(result), _shown(expected)
    most = 6 if _close_floats(result, expected) else 17
    pairs = ((f"{result:.{digits}g}", f"{expected:.{digits}g}") for digits in range(6, most + 1))
    return next((pair for pair in pairs if pair[0] != pair[1]), (f"{result:.{most}g}", f"{expected:.{most}g}"))


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else shown(value)


def _rows(result: Array, expected: Array, first: tuple[int, ...]) -> tuple[Row, ...]:
    """Return a slice along the last axis that begins at the first difference."""
    if not first:
        return ()
    rows: list[Row] = []
    for last in range(first[-1], min(first[-1] + SHOWN, expected.shape[-1])):
        index = (*first[:-1], last)
        numbers = _numbers(result[index].item(), expected[index].item())
        rows.append((str(list(index)), *numbers, _mark(bool(close(result[index], expected[index])))))
    return tuple(rows)


def _mark(right: bool) -> str:
    return "" if right else "differs"


def _compare_sequences(result: Any, expected: Any, name: str) -> Difference | None:
    if not isinstance(result, list | tuple):
        return Difference("type", f"{name} is {kind_of(result)}; expected a {type(expected).__name__}")
    arrays = any(isinstance(item, np.ndarray) for item in expected)  # a tuple of several results
    for number, (yours, right) in enumerate(zip(result, expected, strict=False)):
        difference = compare(yours, right, f"{name}[{number}]")
        if difference is not None:
            rows = difference.rows if arrays or difference.rows else _list_rows(result, expected, number, name)
            return Difference(difference.stage, difference.message, rows, difference.arrays)
    if len(result) != len(expected):
        text = f"{name} has the length {len(result)}; expected the length {len(expected)}"
        return Difference("value", text, _list_rows(result, expected, min(len(result), len(expected)), name))
    return None


def _list_rows(result: Any, expected: Any, first: int, name: str) -> tuple[Row, ...]:
    end = min(first + SHOWN, max(len(result), len(expected)))
    index = name.removeprefix("result")  # of a list in a list: [1] in [1][0]
    rows: list[Row] = []
    for n in range(first, end):
        yours, right = (shown(side[n]) if n < len(side) else "(missing)" for side in (result, expected))
        both = n < min(len(result), len(expected))
        rows.append((f"{index}[{n}]", yours, right, _mark(both and same(result[n], expected[n]))))
    return tuple(rows)


def _compare_dicts(result: Any, expected: dict[str, Any], name: str) -> Difference | None:
    if not isinstance(result, dict) or list(result) != list(expected):
        keys = ", ".join(expected)
        return Difference("type", f"{name} is {kind_of(result)}; expected a dict with the keys {keys}")
    differences = (compare(result[key], expected[key], f"{name}[{key!r}]") for key in expected)
    return next((difference for difference in differences if difference is not None), None)


def _compare_values(result: Any, expected: Any, name: str) -> Difference | None:
    """Compare numbers, text, booleans and None."""
    number = isinstance(expected, int | float) and not isinstance(expected, bool)
    fits = isinstance(result, int | float) and not isinstance(result, bool) if number else None
    if isinstance(result, np.ndarray) and result.ndim == 0 and number:
        result, fits = result.item(), True
    if fits is None:
        fits = type(result) is type(expected)
    if isinstance(expected, int) and number and isinstance(result, float):
        fits = False
    if not fits:
        return Difference("type", f"{name} is {kind_of(result)}; expected {kind_of(expected)}")
    right = _close_floats(result, expected) if isinstance(expected, float) else result == expected
    if right:
        return None
    yours, correct = _numbers(result, expected)
    return Difference("value", f"{name} is {yours}; expected {correct}")


def _close_floats(result: int | float, expected: float) -> bool:
    try:
        return bool(np.isclose(float(result), expected, RELATIVE, ABSOLUTE, equal_nan=True))
    except OverflowError:  # an integer that is larger than any float
        return False
