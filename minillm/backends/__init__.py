"""Backends: how the arithmetic of `forward` is carried out. `plain` says what it means; the others are faster."""

from minillm.backends.plain import Plain

NAMES = ("numpy", "plain", "exact")  # of those that run everywhere


def get_backend(name: str) -> Plain:
    """The backend of this name.

    Raises:
        ValueError: there is none.
        OSError: "cupy", and CuPy is not installed, or there is no device.
    """
    if name == "plain":
        return Plain()
    if name == "numpy":
        from minillm.backends.fast import Fast

        return Fast()
    if name == "exact":
        from minillm.backends.exact import Exact

        return Exact()
    if name == "cupy":
        from minillm.backends.cupy import CuPy

        return CuPy()
    raise ValueError(f"backend is {name!r}; expected one of {', '.join((*NAMES, 'cupy'))}")
