"""The fastest backend that is installed, for commands that measure what this machine can do."""

from importlib.util import find_spec


def fastest_backend() -> str:
    """Return "compiled" if this machine has numba, else "numpy"."""
    return "compiled" if find_spec("numba") else "numpy"
