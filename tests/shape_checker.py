"""The type checker behind the shapes in signatures, for the test run only (see `addopts` in pyproject.toml).

Checking the shapes of tiny arrays takes several times as long as computing with them. So of each test, and of each
example of a property that is checked at all, the first calls are checked: enough for every function on its way.
Functions without a shape in their signature are left alone: mypy checks the rest, and beartype's imports take seconds.
jaxtyping would wrap them too, and each of their calls would take several times as long.
"""

import dataclasses
import random
from functools import wraps
from inspect import isclass
from typing import Any, get_args

import jaxtyping
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation

MOST_CALLS = 300  # about three forward passes
left = MOST_CALLS


def check_shapes(check: bool = True) -> None:
    """Check the next calls, or none."""
    global left
    left = MOST_CALLS
    jaxtyping.config.update("jaxtyping_disable", not check)


def has_shape(hint: Any) -> bool:
    """Whether this annotation names a shape, perhaps inside `list[...]` or a union."""
    is_array = isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray)
    return is_array or any(has_shape(part) for part in get_args(hint))


def may_have_shapes(thing: Any) -> bool:
    """Whether a function, or the fields of a dataclass, name a shape; a hint in quotes, not evaluated yet, may."""
    if isclass(thing):
        return dataclasses.is_dataclass(thing) and may_have_shapes(thing.__init__)
    return any(isinstance(hint, str) or has_shape(hint) for hint in getattr(thing, "__annotations__", {}).values())


def jaxtyped_with_shapes(*, typechecker, jaxtyped=jaxtyping.jaxtyped):
    """jaxtyping's decorator, which its import hook puts on everything, for what has shapes."""
    return lambda thing: jaxtyped(thing, typechecker=typechecker) if may_have_shapes(thing) else thing


jaxtyping.jaxtyped = jaxtyped_with_shapes  # where the import hook looks for it; before minillm is imported


def checked(function):
    """beartype, but every violation is raised from the same line, so that Hypothesis sees one bug and shrinks it."""
    hints = getattr(function, "__annotations__", {}).values()
    if not any(map(has_shape, hints)):
        return function
    strict = beartype(function)
    # Of a list beartype checks an item picked at random, which Hypothesis forbids inside strategies.
    picks = any(get_args(hint) for hint in hints)

    @wraps(function)
    def call(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            jaxtyping.config.update("jaxtyping_disable", True)
        state = random.getstate() if picks else None
        try:
            return strict(*args, **kwargs)
        except BeartypeCallHintViolation as violation:
            message = str(violation)
        finally:
            if picks:
                random.setstate(state)
        raise TypeError(message)  # outside `except`: the generated frames of beartype are named by address

    return call
