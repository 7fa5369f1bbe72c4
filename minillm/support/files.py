"""Read untrusted text and JSON: with a size limit, without duplicate keys, and with one-line errors."""

import json
from pathlib import Path
from typing import Any

from minillm.support.file_kinds import LONGEST_KIND, find_kind, seems

LARGEST = 4_000_000  # bytes; parsed JSON can take thirty times as much memory as its text


def read_json(path: Path, largest: int = LARGEST) -> Any:
    """Return the contents of a JSON file.

    Raises:
        ValueError: the file is too large, not UTF-8, not JSON, or only stands for the file.
        OSError: the file is missing, unreadable, or not a regular file.
    """
    return parse_json(read_ordinary_file(path, largest), path.name)


def read_ordinary_file(path: Path, largest: int) -> bytes:
    """Return the contents of a file of at most `largest` bytes.

    Pipes and devices may never end, so they are not even opened.
    """
    if path.exists() and not path.is_file():
        raise OSError(f"{path}: expected an ordinary file, found a folder, a pipe or a device")
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ValueError(f"{path.name}: the file is too large; expected at most {largest} bytes")
    kind = find_kind(data[:LONGEST_KIND])
    if kind is not None and kind.stand_in:
        raise ValueError(f"{path.name}: not the file itself{seems(data)}")
    return data


def parse_json(data: bytes, source: str = "", first: bytes | None = None) -> Any:
    """Parse JSON text.

    Args:
        data: the text.
        source: the file's name, with which messages begin; empty if the text is not from a file.
        first: what the file begins with, if it is not the text.
    """
    prefix = f"{source}: " if source else ""
    kind = seems(data[:LONGEST_KIND] if first is None else first, "JSON text") if source else ""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except RecursionError:
        raise ValueError(f"{prefix}the JSON is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError(f"{prefix}expected text in UTF-8{kind}") from None
    except ValueError as problem:
        raise ValueError(f"{prefix}not valid JSON: {' '.join(str(problem).split())[:120]}{kind}") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("duplicate key")
    return values
