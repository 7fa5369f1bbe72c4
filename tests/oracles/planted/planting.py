"""Plant a bug into a function of an installed package, while a test runs."""

import importlib
import inspect
import textwrap
from contextlib import suppress


def found(where):
    """What has the function with this dotted name, a module or a class, and its name there."""
    owner, name = where.rsplit(".", 1)
    with suppress(ModuleNotFoundError):
        return importlib.import_module(owner), name
    module, class_name = owner.rsplit(".", 1)
    return getattr(importlib.import_module(module), class_name), name


def with_bug(function, right, wrong):
    """The function with another text, in its own module."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(right) == 1, right
    names = {}
    exec(source.replace(right, wrong), inspect.unwrap(function).__globals__, names)
    return names[function.__name__]
