"""The type checker behind the shapes in signatures, for the test run only (see `addopts` in pyproject.toml)."""

import random
from functools import wraps
from typing import get_args

from beartype import beartype
from beartype.roar import BeartypeCallHintViolation


def checked(function):
    """beartype, but every violation is raised from the same line, so that Hypothesis sees one bug and shrinks it."""
    strict = beartype(function)
    # Of a list beartype checks an item picked at random, which Hypothesis forbids inside strategies.
    picks = any(get_args(hint) for hint in getattr(function, "__annotations__", {}).values())

    @wraps(function)
    def call(*args, **kwargs):
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
