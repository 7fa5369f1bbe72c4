"""Backends: how the arithmetic of `forward` is carried out. `plain` says what it means; the others are faster."""

from minillm.backends.plain import Plain

NAMES = ("numpy", "plain", "exact")


def get_backend(name: str) -> Plain:
    """The backend of this name.

    Raises:
        ValueError: there is none.
    """
    if name == "plain":
        return Plain()
    if name == "numpy":
        from minillm.backends.fast import Fast

        return Fast()
    if name == "exact":
        from minillm.backends.exact import Exact

        return Exact()
    raise ValueError(f"backend is {name!r}; expected one of {', '.join(NAMES)}")
