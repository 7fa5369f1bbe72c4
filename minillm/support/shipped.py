"""Files that ship with minillm: weights, lessons, exercises. A wheel has them in the package, a checkout next to it."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]  # the folder of `minillm` itself


def shipped(name: str) -> Path:
    """Return the folder `name`: the one inside the installed package, else the one next to it in a checkout."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name
