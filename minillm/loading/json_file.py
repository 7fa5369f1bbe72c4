"""JSON from strangers: size-limited, no duplicate names, and every failure is one line."""

import json
from pathlib import Path
from typing import Any

LARGEST = 64_000_000


def read_bytes(path: Path) -> bytes:
    """The contents of a small file.

    Raises:
        ValueError: it is not small.
        OSError: missing or unreadable.
    """
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path.name}: {path.stat().st_size} bytes; expected at most {LARGEST}")
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        ValueError: too large, not UTF-8, not JSON.
        OSError: missing or unreadable.
    """
    return parse_json(read_bytes(path), path.name)


def parse_json(data: bytes, source: str) -> Any:
    """JSON text as Python values; `source` names the file in messages."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except RecursionError:
        raise ValueError(f"{source}: the JSON is nested too deeply") from None
    except ValueError as problem:
        raise ValueError(f"{source}: not valid JSON: {' '.join(str(problem).split())[:120]}") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name is there twice")
    return values
