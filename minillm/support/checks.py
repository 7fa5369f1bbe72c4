"""Checks of plain values, kept out of the maths. Each raises a one-line ValueError that says what was expected."""

from typing import Any

import numpy as np


def shown(value: Any) -> str:
    """A value as messages show it: short, and on one line."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a number of thousands of digits, an object whose own repr fails
        return f"of type {type(value).__name__} and too large to show"
    return text if len(text) <= 40 else text[:37] + "..."


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """A whole number in a range; NumPy's integers pass, booleans and floats do not."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} is {shown(value)}; expected a whole number {bounds}")
    return int(value)


def check_bool(name: str, value: Any) -> None:
    """Raise ValueError unless this is True or False."""
    if type(value) is not bool:
        raise ValueError(f"{name} is {shown(value)}; expected True or False")
