"""Text and JSON from strangers: size-limited, no duplicate names, and every failure is one line."""

import json
from pathlib import Path
from typing import Any

LARGEST = 4_000_000  # bytes; parsed JSON can take thirty times the memory of its text


def read_json(path: Path, largest: int = LARGEST) -> Any:
    """The contents of a JSON file.

    Raises:
        ValueError: too large, not UTF-8, not JSON.
        OSError: missing, unreadable, or no ordinary file.
    """
    return parse_json(read_ordinary_file(path, largest), path.name)


def read_ordinary_file(path: Path, largest: int) -> bytes:
    """All of a file of at most so many bytes. A pipe or a device, which might never end, is not even opened."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path}: expected an ordinary file, found a folder, a pipe or a device")
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ValueError(f"{path.name}: more than {largest} bytes; expected at most that many")
    return data


def parse_json(data: bytes, source: str = "") -> Any:
    """JSON text as Python values; messages begin with `source`, the name of its file, if there is one."""
    prefix = f"{source}: " if source else ""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except RecursionError:
        raise ValueError(f"{prefix}the JSON is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError(f"{prefix}expected text in UTF-8") from None
    except ValueError as problem:
        raise ValueError(f"{prefix}not valid JSON: {' '.join(str(problem).split())[:120]}") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name is there twice")
    return values
