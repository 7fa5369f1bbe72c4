"""The form of a difference between two arrays: one general cause, such as a missing factor, that explains all values.

A form that explains the first failing case may do so by chance, because that case is small. So a form can be asked
whether it explains the later cases, too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from minillm.arrays import Array, Bool

RELATIVE, ABSOLUTE = 1e-9, 1e-12  # all floats are float64, so correct results differ only by rounding
NEAR_ONE = 1e-3  # a factor nearer to 1 is the trace of another mistake, such as an added epsilon


@dataclass(frozen=True)
class Form:
    """One general cause.

    Attributes:
        text: the cause in one sentence.
        explains: whether the cause alone makes this result of these expected values, which have the same shape.
    """

    text: str
    explains: Callable[[Array, Array], bool]


def forms_of(result: Array, expected: Array) -> list[Form]:
    """Return the forms that explain a result, the likeliest first."""
    if result.dtype.kind == "f" and np.isnan(result).any() and not np.isnan(expected).any():
        text = "Some values are NaN: an exp overflowed, inf was subtracted from inf, or 0 was divided by 0."
        return [Form(text, lambda result, expected: True)]  # it says what this case shows
    return [form for form in _forms(result, expected) if form.explains(result, expected)]


def close(result: Array, expected: Array) -> Bool[Array, "..."]:
    """Return where two arrays agree, floats up to rounding."""
    if expected.dtype.kind != "f":
        return np.asarray(result == expected)
    return np.asarray(np.isclose(result, expected, RELATIVE, ABSOLUTE, equal_nan=True))


def _forms(result: Array, expected: Array) -> Iterator[Form]:
    if expected.dtype == bool and expected.size > 1:
        yield _undone("Every value is inverted: True and False are swapped.", np.logical_not)
    for axis, size in enumerate(expected.shape):
        if size > 1:
            where = f"along axis {axis}."
            yield _undone(f"The values are correct, but in reverse order {where}", _along(axis, np.flip))
            for by in (1, -1):
                yield _undone(f"The values are correct, but shifted by one {where}", _along(axis, _rolled(by)))
    if expected.ndim == 2 and len(set(expected.shape)) == 1:
        yield _undone("The values are correct, but the matrix is transposed.", np.transpose)
    factor = _factor(result, expected)
    if factor is not None and abs(factor - 1) > NEAR_ONE:
        text = f"All values are {factor:.6g} times the expected ones: a factor is missing, or applied twice."
        yield Form(text, lambda result, expected: bool(close(result, expected * factor).all()))


def _undone(text: str, undo: Callable[[Array], Array]) -> Form:
    """Return the form that is explained if `undo` makes the expected values of the result."""

    def explains(result: Array, expected: Array) -> bool:
        undone = undo(result)
        return undone.shape == expected.shape and bool(close(undone, expected).all())

    return Form(text, explains)


def _along(axis: int, change: Callable[[Array, int], Array]) -> Callable[[Array], Array]:
    return lambda result: change(result, axis) if axis < result.ndim else result


def _rolled(by: int) -> Callable[[Array, int], Array]:
    return lambda result, axis: np.roll(result, by, axis)


def _factor(result: Array, expected: Array) -> float | None:
    """Return the result divided by the expected one where this is largest."""
    if expected.dtype.kind != "f" or expected.size < 2 or not (np.isfinite(result) & np.isfinite(expected)).all():
        return None
    largest = np.unravel_index(np.abs(expected).argmax(), expected.shape)
    return float(result[largest] / expected[largest]) if expected[largest] and result[largest] else None
