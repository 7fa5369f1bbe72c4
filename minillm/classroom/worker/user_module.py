"""Run a source that somebody else wrote as a module: the same way in the worker process and, for your own files, here.

The worker process imports this file without the package, so it uses only the standard library.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def user_module(source: str | bytes, name: str, file: str, folder: str = "") -> Iterator[ModuleType]:
    """Run a source as a module, as an import would, and yield the module.

    It is in sys.modules, as dataclasses, typing and pickle need it, and has `__file__`. Its folder is the first on the
    import path. At the end all of this is removed again, with what was imported from the folder.

    Args:
        source: the source, or the bytes of a file, which may name their encoding.
        name: the name of the module. If another module has it already, the new one gets `_` before its name.
        file: its path, for `__file__` and tracebacks.
        folder: the folder from which it may import its neighbours; "" for none.
    """
    while name in sys.modules:
        name = "_" + name
    module = ModuleType(name)
    module.__file__ = file
    before = set(sys.modules)
    sys.modules[name] = module
    sys.path[:0] = [folder] if folder else []
    try:
        exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)
        yield module
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
        neighbours = [key for key in set(sys.modules) - before if _is_from(sys.modules[key], folder)]
        for key in [name, *neighbours]:
            sys.modules.pop(key, None)


def _is_from(module: ModuleType | None, folder: str) -> bool:
    """Return whether a module is a file of the folder, or of a folder in it."""
    file = getattr(module, "__file__", None) if folder else None
    return isinstance(file, str) and file.startswith(os.path.join(folder, ""))
