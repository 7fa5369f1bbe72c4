"""Compiling: how the functions of this folder become machine code, and where that is stored.

numba translates a Python function when it is first called, once for each combination of argument types. That takes
seconds. So the result is stored in a folder of the user, and the next process loads it in milliseconds:

    $NUMBA_CACHE_DIR, else <minillm's cache folder>/compiled
        <digest of this folder's files, of the versions of numba and Python>/
            product.product-112.py311.nbi, .nbc ...       index and machine code of one function

The digest covers all files, because a kernel contains code of the others. numba adds the kind of processor to the key
of each entry. Files appear whole or not at all, so processes that start at once may write the same entry: the last one
stays. If the folder cannot be written (read-only, disk full) or a file is damaged, functions are compiled again.
"""

import hashlib
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core import caching

from minillm.support.cache_folder import cache_folder

# numpy: dividing by zero gives infinity, as in NumPy, without a check in each loop.
# nogil: other Python threads run meanwhile; with one exception all kernels are called by several threads at once.
# _nrt off: arrays are not counted as references. Counting is a call in every loop that hands an array on, and the
# accumulators leave their registers for it.
OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a piece of a kernel that is copied into the kernels that use it."""
    return numba.njit(inline="always", **OPTIONS)(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that Python or another kernel calls, and store it in the cache."""
    dispatcher = numba.njit(**OPTIONS)(function)
    try:
        dispatcher._cache = _Cache(function)
    except (RuntimeError, OSError):  # the folder cannot be made, or the files of this package cannot be read
        pass
    return dispatcher


def check_processor() -> None:
    """Check that the processor has the instructions that the kernels use.

    Raises:
        OSError: an x86 processor without FMA or F16C, which all have since 2013 (Intel) or 2012 (AMD).
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        features = llvm.get_host_cpu_features()
        missing = [name.upper() for name in ("fma", "f16c") if not features.get(name)]
        if missing:
            raise OSError(f"the compiled backend needs a processor with {' and '.join(missing)}; use backend='numpy'")


@cache
def _digest() -> str:
    """Return a digest of all files of this folder."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


class _Locator(caching.UserProvidedCacheLocator):  # type: ignore[misc]
    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._py_file, self._lineno = file, function.__code__.co_firstlineno
        chosen = numba.config.CACHE_DIR
        folder = Path(chosen) / "minillm" if chosen else cache_folder() / "compiled"
        self._cache_path = str(folder / _digest())

    def get_source_stamp(self) -> str:
        return _digest()

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> "_Locator | None":
        locator = cls(function, file)
        try:
            locator.ensure_cache_path()
        except OSError:
            return None
        return locator


class _Contents(caching.CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Locator,)


class _Cache(caching.FunctionCache):  # type: ignore[misc]
    """numba's cache, except that no problem with its files is an error."""

    _impl_class = _Contents

    def load_overload(self, signature: Any, context: Any) -> Any:
        try:
            return super().load_overload(signature, context)
        except Exception:  # damaged files raise almost anything
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        try:
            super().save_overload(signature, result)
        except Exception:  # a damaged index, a full disk, a folder that was removed
            self.disable()
