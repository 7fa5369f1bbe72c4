"""Backends: how the arithmetic of `forward` is computed. `plain` is the readable reference; the others equal it."""

from minillm.backends.plain import Plain
from minillm.backends.threads import check_numba_threads
from minillm.support.install_hint import install_hint

NAMES = ("numpy", "plain", "exact")  # the backends that need no extra


def get_backend(name: str) -> Plain:
    """Return the backend of this name.

    Raises:
        ValueError: no backend has this name.
        OSError: the name is "compiled", and numba is not installed or set so that it cannot compile; or it is "cupy",
            and CuPy is not installed or finds no device.
    """
    if name == "plain":
        return Plain()
    if name == "numpy":
        from minillm.backends.fast import Fast

        return Fast()
    if name == "exact":
        from minillm.backends.exact import Exact

        return Exact()
    if name == "compiled":
        check_numba_threads()
        try:
            from minillm.backends.compiled.backend import Compiled
        except ImportError as problem:
            raise OSError(f"the compiled backend needs numba: {install_hint('compiled')}") from problem

        return Compiled()
    if name == "cupy":
        from minillm.backends.cupy import CuPy

        return CuPy()
    names = ", ".join((*NAMES, "compiled", "cupy"))
    raise ValueError(f"backend is {name!r}; expected one of {names}, or an object derived from Plain")
