"""How a result differs from the expected one: what kind of thing it is, then dtype, then shape, then the first number.

The order is the one in which a person looks: it makes no sense to compare numbers of arrays whose axes are swapped.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm.arrays import Array, Bool
from minillm.classroom.worker.wire import Other
from minillm.support.checks import shown

RELATIVE, ABSOLUTE = 1e-9, 1e-12  # everything is float64, so what is right differs by rounding alone
SHOWN = 4  # numbers in the slice beside the first that differs


@dataclass(frozen=True)
class Difference:
    """The first difference.

    Attributes:
        stage: "none", "type", "dtype", "shape" or "value".
        message: in one sentence.
        rows: (place, yours, expected) from the first place that differs on.
        meaning: what such a difference usually means, if its form tells.
    """

    stage: str
    message: str
    rows: tuple[tuple[str, str, str], ...] = ()
    meaning: str = ""


def compare(result: Any, expected: Any, name: str = "result") -> Difference | None:
    """The difference between what came and what was expected, or None."""
    if result is None and expected is not None:
        return Difference("none", f"{name} is None; is there a `return`?")
    if isinstance(expected, np.ndarray):
        return _compare_arrays(result, expected, name)
    if isinstance(expected, list | tuple):
        return _compare_sequences(result, expected, name)
    if isinstance(expected, dict):
        return _compare_dicts(result, expected, name)
    return _compare_values(result, expected, name)


def same(result: Any, expected: Any) -> bool:
    """Whether there is no difference."""
    return compare(result, expected) is None


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {shape_text(value.shape)}"
    if isinstance(value, Other):
        return f"of type {value.type_name[:60]}"
    return "None" if value is None else f"of type {type(value).__name__}"


def shape_text(shape: tuple[int, ...]) -> str:
    """(2, 4, 7) as [2, 4, 7]."""
    return str(list(shape))


def _compare_arrays(result: Any, expected: Array, name: str) -> Difference | None:
    if not isinstance(result, np.ndarray):
        return Difference("type", f"{name} is {kind_of(result)}; expected {kind_of(expected)}")
    whole = expected.dtype.kind == "i" and result.dtype.kind == "i"  # int64 or int32: systems differ
    if result.dtype != expected.dtype and not whole:
        return Difference("dtype", f"the dtype of {name} is {result.dtype}; expected {expected.dtype}")
    if result.shape != expected.shape:
        text = f"the shape of {name} is {shape_text(result.shape)}; expected {shape_text(expected.shape)}"
        return Difference("shape", text + _shape_hint(result.shape, expected.shape))
    right = _close(result, expected)
    if right.all():
        return None
    first = tuple(int(place) for place in np.argwhere(~right)[0])
    count = f"{int((~right).sum())} of {right.size} numbers differ"
    place = f" at {list(first)}" if first else ""
    text = f"{name} first differs{place}: {_pair(result[first].item(), expected[first].item())} ({count})"
    return Difference("value", text, _rows(result, expected, first), _array_meaning(result, expected))


def _close(result: Array, expected: Array) -> Bool[Array, "..."]:
    if expected.dtype.kind != "f":
        return np.asarray(result == expected)
    return np.asarray(np.isclose(result, expected, RELATIVE, ABSOLUTE, equal_nan=True))


def _shape_hint(shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
    for first, second in itertools.combinations(range(len(shape)), 2):
        swapped = list(shape)
        swapped[first], swapped[second] = swapped[second], swapped[first]
        if tuple(swapped) == expected:
            return f": axes {first} and {second} look swapped"
    if sorted(shape) == sorted(expected):
        return ": its axes are in another order"
    if [size for size in shape if size != 1] == [size for size in expected if size != 1]:
        return ": an axis of length 1 is missing or too many (keepdims? [:, None]?)"
    return ""


def _pair(result: Any, expected: Any) -> str:
    yours, right = _numbers(result, expected)
    return f"{yours}, expected {right}"


def _numbers(result: Any, expected: Any) -> tuple[str, str]:
    """Both as text, with as many digits as it takes to tell them apart."""
    yours, right = (f"{value:.6g}" if isinstance(value, float) else shown(value) for value in (result, expected))
    if yours == right:
        yours, right = (f"{value:.17g}" if isinstance(value, float) else repr(value) for value in (result, expected))
    return yours, right


def _rows(result: Array, expected: Array, first: tuple[int, ...]) -> tuple[tuple[str, str, str], ...]:
    """A slice along the last axis, from the first place that differs."""
    if not first:
        return ()
    places = [(*first[:-1], last) for last in range(first[-1], min(first[-1] + SHOWN, expected.shape[-1]))]
    return tuple((str(list(place)), *_numbers(result[place].item(), expected[place].item())) for place in places)


def _array_meaning(result: Array, expected: Array) -> str:
    if result.dtype.kind == "f" and np.isnan(result).any() and not np.isnan(expected).any():
        return "Some are not numbers (nan): an exp overflowed, infinity was subtracted from itself, or 0 divided by 0."
    for axis, size in enumerate(expected.shape):
        if size > 1 and _close(np.flip(result, axis), expected).all():
            return f"It is right but for the order along axis {axis}, which is reversed."
        if size > 1 and any(_close(np.roll(result, by, axis), expected).all() for by in (1, -1)):
            return f"It is right but shifted by one along axis {axis}."
    if expected.ndim == 2 and len(set(expected.shape)) == 1 and _close(result.T, expected).all():
        return "It is right but transposed."
    return _factor_meaning(result, expected)


def _factor_meaning(result: Array, expected: Array) -> str:
    if expected.dtype.kind != "f" or not np.isfinite(result).all() or not np.isfinite(expected).all():
        return ""
    place = np.unravel_index(np.abs(expected).argmax(), expected.shape)
    if expected.size > 1 and expected[place] and result[place]:
        factor = float(result[place] / expected[place])
        if _close(result, expected * factor).all():
            return f"All numbers are {factor:.6g} times what they should be: a scale is missing, or there twice."
    return ""


def _compare_sequences(result: Any, expected: Any, name: str) -> Difference | None:
    if not isinstance(result, list | tuple):
        return Difference("type", f"{name} is {kind_of(result)}; expected a {type(expected).__name__}")
    arrays = any(isinstance(item, np.ndarray) for item in expected)  # several results, each with a name of its own
    for number, (yours, right) in enumerate(zip(result, expected, strict=False)):
        difference = compare(yours, right, f"{name}[{number}]")
        if difference is not None:
            rows = difference.rows if arrays or difference.rows else _list_rows(result, expected, number)
            return Difference(difference.stage, difference.message, rows, difference.meaning)
    if len(result) != len(expected):
        text = f"{name} has {len(result)} items; expected {len(expected)}"
        return Difference("value", text, _list_rows(result, expected, min(len(result), len(expected))))
    return None


def _list_rows(result: Any, expected: Any, first: int) -> tuple[tuple[str, str, str], ...]:
    end = min(first + SHOWN, max(len(result), len(expected)))
    yours, right = ([shown(side[n]) if n < len(side) else "nothing" for n in range(end)] for side in (result, expected))
    return tuple((f"[{n}]", yours[n], right[n]) for n in range(first, end))


def _compare_dicts(result: Any, expected: dict[str, Any], name: str) -> Difference | None:
    if not isinstance(result, dict) or list(result) != list(expected):
        return Difference("type", f"{name} is {kind_of(result)}; expected a dict of {', '.join(expected)}")
    differences = (compare(result[key], expected[key], f"{name}[{key!r}]") for key in expected)
    return next((difference for difference in differences if difference is not None), None)


def _compare_values(result: Any, expected: Any, name: str) -> Difference | None:
    """Numbers, text, True and False, None."""
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
    return None if right else Difference("value", f"{name} is {_pair(result, expected)}")


def _close_floats(result: int | float, expected: float) -> bool:
    try:
        return bool(np.isclose(float(result), expected, RELATIVE, ABSOLUTE))
    except OverflowError:  # a whole number that is larger than any float
        return False
