"""Machine code in a folder of the user, so that each machine compiles once.

    $NUMBA_CACHE_DIR/minillm, else <minillm's cache folder>/compiled
        <digest of this folder's files, of the compiler's versions and settings>/
            product.product-112.py311.<digest of argument types and processor>      machine code of one function

A digest covers all files, because a kernel contains code of the others. Another version of minillm, numba, LLVM or
Python, another setting such as NUMBA_OPT, or an edited file has a folder of its own. The name of a file covers the
processor: its kind, and the instructions that it has, or that NUMBA_CPU_NAME, NUMBA_CPU_FEATURES and NUMBA_ENABLE_AVX
name. A folder that no process has opened for 30 days is removed. Folders may be deleted at any time: who needs one
compiles again.

A file appears whole or not at all, and begins with the digest of what follows. So processes that start at once may
write the same file, and a damaged one is compiled again. If the folder cannot be written (read-only, disk full), each
process compiles for itself, and one warning says so.

The files are Python pickles and machine code: who can write them can run code as this user. So the folder is made for
the user alone (mode 0700), and a folder that others own or can write is not used. The digest protects against damage,
not against strangers.
"""

import hashlib
import os
import pickle
import platform
import shutil
import stat
import string
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from time import time
from typing import Any

import llvmlite
import llvmlite.binding
import numba
from numba.core import caching, serialize

from minillm.backends.compiled.compile_progress import note_compiling, note_ready
from minillm.support.cache_folder import cache_folder

DIGEST = hashlib.sha256().digest_size  # bytes
DIGITS = 16  # of a folder's name
KEPT_S = 30 * 86_400  # seconds for which an unused folder stays
SETTINGS = (  # numba's, which change the machine code
    "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "ENABLE_PROFILING",
    "EXTEND_VARIABLE_LIFETIMES", "LLVM_REFPRUNE_PASS", "LLVM_REFPRUNE_FLAGS", "DISABLE_INTEL_SVML",
)  # fmt: skip
_warned: list[Exception] = []  # of this process, at most one


@cache
def digest_of_sources() -> str:
    """Return a digest of all files of this folder, and of the versions and settings of what compiles them."""
    versions = numba.__version__, llvmlite.__version__, llvmlite.binding.llvm_version_info, platform.python_version()
    settings = [(name, str(getattr(numba.config, name, None))) for name in SETTINGS]
    digest = hashlib.sha256(repr((versions, settings)).encode())
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:DIGITS]


@cache
def folder() -> Path:
    """Make the folder, for this user alone, and return it.

    Raises:
        OSError: it cannot be made, or other users can write to it.
    """
    chosen = numba.config.CACHE_DIR
    base = (Path(chosen) / "minillm" if chosen else cache_folder() / "compiled").absolute()
    base.parent.mkdir(parents=True, exist_ok=True)
    base.mkdir(mode=0o700, exist_ok=True)
    inside = base / digest_of_sources()
    inside.mkdir(mode=0o700, exist_ok=True)
    for made in (base, inside):
        status = made.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            raise OSError(f"other users can write to {made}")
    _remove_unused(inside)
    return inside


def _remove_unused(used: Path) -> None:
    """Mark `used` as used now, by its time of modification, and remove its siblings that nobody used for 30 days."""
    with suppress(OSError):  # a folder that cannot be written stays as it is
        os.utime(used)
        for other in used.parent.iterdir():
            if is_digest(other.name) and other.lstat().st_mtime < time() - KEPT_S:
                shutil.rmtree(other, ignore_errors=True)


def is_digest(name: str) -> bool:
    """Return whether a folder of machine code has such a name. Other files in the folder are not ours."""
    return len(name) == DIGITS and set(name) <= set(string.hexdigits)


class _Locator(caching.UserProvidedCacheLocator):
    """Tells numba nothing: `_File` knows the folder, and looks for it when a function is called."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._py_file, self._lineno = file, function.__code__.co_firstlineno
        self._cache_path = ""

    def ensure_cache_path(self) -> None:
        pass

    def get_source_stamp(self) -> str:
        return ""

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> "_Locator":
        return cls(function, file)


class _Contents(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _File:
    """Where the machine code of one function lies: a file for each combination of argument types and processor."""

    def __init__(self, name: str) -> None:
        self.name = name

    def path(self, key: Any) -> Path:
        return folder() / f"{self.name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}"

    def load(self, key: Any) -> Any:
        """Return what was saved; None if there is nothing, or if it is damaged."""
        try:
            content = self.path(key).read_bytes()
        except OSError:
            return None
        whole = hashlib.sha256(content[DIGEST:]).digest() == content[:DIGEST]
        return pickle.loads(content[DIGEST:]) if whole else None

    def save(self, key: Any, data: Any) -> None:
        content = serialize.dumps(data)
        with tempfile.NamedTemporaryFile(dir=folder(), delete=False) as part:
            try:
                part.write(hashlib.sha256(content).digest() + content)
                part.close()
                os.replace(part.name, self.path(key))
            except BaseException:
                os.unlink(part.name)
                raise


class MachineCode(caching.FunctionCache):
    """numba's cache of one function, in our files; a missing or damaged file is not an error."""

    _impl_class = _Contents

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _File(self._impl.filename_base)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return the stored machine code for these argument types, or None.

        numba's own method first registers how all functions that it knows are compiled, which takes 0.3 seconds. What
        is stored does not need it, and numba does it before it compiles.
        """
        try:
            loaded = self._load_overload(signature, context)
        except Exception:  # what another version of numba has written may raise anything
            loaded = None
        (note_compiling if loaded is None else note_ready)(self._py_func.__name__)
        return loaded

    def save_overload(self, signature: Any, result: Any) -> None:
        """Store machine code."""
        try:
            super().save_overload(signature, result)
        except Exception as problem:  # a full disk, a folder that cannot be made or was removed
            self.disable()
            _warn_once(problem)
        note_ready(self._py_func.__name__)


def _warn_once(problem: Exception) -> None:
    if not _warned:
        _warned.append(problem)
        way = "set NUMBA_CACHE_DIR to a folder that can be written"
        warnings.warn(
            f"the compiled loops cannot be stored, so each start compiles again: {problem}; {way}", stacklevel=2
        )
