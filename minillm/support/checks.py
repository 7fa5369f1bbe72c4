"""Check plain values, away from the maths. Each check raises a one-line ValueError that says what was expected."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np


def shown(value: Any) -> str:
    """Return a value as messages show it: short, and on one line."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an integer of thousands of digits, or an object whose repr fails
        return f"of type {type(value).__name__} and too large to show"
    return text if len(text) <= 40 else text[:37] + "..."


def is_utf8(text: str) -> bool:
    """Return whether UTF-8 can encode the text. It cannot encode half a surrogate pair, which JSON can spell."""
    return not re.search("[\ud800-\udfff]", text)


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return the value as an int, or raise ValueError. NumPy's integers pass; booleans and floats do not."""
    integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not integer or value < low or (high is not None and value > high):
        bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} is {shown(value)}; expected an integer {bounds}")
    return int(value)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return the value, or raise ValueError unless it is one of these texts."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {shown(value)}; expected one of {', '.join(choices)}")
    return value


def check_bool(name: str, value: Any) -> None:
    """Raise ValueError unless this is True or False."""
    if type(value) is not bool:
        raise ValueError(f"{name} is {shown(value)}; expected True or False")
