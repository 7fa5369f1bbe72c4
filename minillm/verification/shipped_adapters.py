"""Adapters that ship with minillm: `pytest --minillm-engine NAME` finds them by their names."""

from pathlib import Path

FOLDER = Path(__file__).with_name("adapters")


def adapter_names() -> list[str]:
    """Return the names of the shipped adapters."""
    return sorted(file.stem for file in FOLDER.glob("[!_]*.py"))


def find_engine_file(name: str, folder: Path) -> Path:
    """Return the file with this name, or the shipped adapter.

    Args:
        name: what the user has named.
        folder: the current folder.

    Raises:
        ValueError: if there is neither.
    """
    if (folder / name).is_file():
        return folder / name
    if name in adapter_names():
        return FOLDER / f"{name}.py"
    shipped = ", ".join(adapter_names())
    raise ValueError(f"there is no file {folder / name}" + (f"; the shipped adapters are {shipped}" if shipped else ""))
