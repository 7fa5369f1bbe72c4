"""Compiling: how the functions of this folder become machine code.

numba translates a Python function when it is first called, once for each combination of argument types. That takes
seconds, so `machine_code.py` stores the result in a folder of the user, and the next process loads it in milliseconds.
"""

import platform
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba

from minillm.backends.compiled.machine_code import MachineCode

# numpy: dividing by zero gives infinity, as in NumPy, without a check in each loop.
# nogil: other Python threads run meanwhile; with one exception all kernels are called by several threads at once.
# _nrt off: arrays are not counted as references. Counting is a call in every loop that hands an array on, and the
# accumulators leave their registers for it.
OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}
USED = ("fma", "f16c")  # x86 instructions that not every processor has


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a piece of a kernel that is copied into the kernels that use it."""
    return numba.njit(inline="always", **OPTIONS)(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that Python or another kernel calls, and store it in the cache."""
    dispatcher = numba.njit(**OPTIONS)(function)
    dispatcher._cache = MachineCode(function)
    return dispatcher


def check_compiler() -> None:
    """Check that numba compiles, for a processor that has the instructions that the kernels use.

    Raises:
        OSError: NUMBA_DISABLE_JIT is set; or an x86 processor lacks FMA or F16C, which all have since 2013 (Intel) or
            2012 (AMD); or NUMBA_CPU_FEATURES lacks them, as it does if NUMBA_CPU_NAME is generic.
    """
    if numba.config.DISABLE_JIT:
        raise OSError("the compiled backend cannot run with NUMBA_DISABLE_JIT=1; unset it, or use backend='numpy'")
    if platform.machine().lower() in ("x86_64", "amd64"):
        features = llvm.get_host_cpu_features()
        missing = [name.upper() for name in USED if not features.get(name)]
        if missing:
            raise OSError(f"the compiled backend needs a processor with {' and '.join(missing)}; use backend='numpy'")
        check_features(numba.config.CPU_NAME, numba.config.CPU_FEATURES)


def check_features(cpu_name: str | None, said: str | None) -> None:
    """Raise OSError if these instructions lack one that the kernels use. Without it, LLVM ends the process.

    Args:
        cpu_name: NUMBA_CPU_NAME, or None.
        said: NUMBA_CPU_FEATURES, such as "+fma,-f16c": the last word about a feature counts. None for the processor's.
    """
    if said is None:
        return
    features = {feature[1:]: feature[0] for feature in said.split(",") if feature}
    missing = [name.upper() for name in USED if features.get(name) != "+"]
    if missing:
        raise OSError(
            f"the compiled backend needs {' and '.join(missing)}, and NUMBA_CPU_FEATURES is {said[:200]!r} "
            f"(NUMBA_CPU_NAME is {cpu_name!r}); add {','.join(f'+{name.lower()}' for name in missing)}, or unset both"
        )
