"""The type checker behind the shapes in signatures, for the test run only (see `addopts` in pyproject.toml).

Checking the shapes of tiny arrays takes several times as long as computing with them. So of each test, and of each
example of a property that is checked at all, the first calls are checked: enough for every function on its way.
"""

import random
from functools import wraps
from typing import get_args

import jaxtyping
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation

MOST_CALLS = 1000  # about ten forward passes
left = MOST_CALLS


def check_shapes(check: bool = True) -> None:
    """Check the next calls, or none."""
    global left
    left = MOST_CALLS
    jaxtyping.config.update("jaxtyping_disable", not check)


def checked(function):
    """beartype, but every violation is raised from the same line, so that Hypothesis sees one bug and shrinks it."""
    strict = beartype(function)
    # Of a list beartype checks an item picked at random, which Hypothesis forbids inside strategies.
    picks = any(get_args(hint) for hint in getattr(function, "__annotations__", {}).values())

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
