"""What travels between the checker and its worker: values as JSON, arrays as raw bytes; never a pickle.

The worker imports this file by itself, without the package, so it stands on NumPy alone. Only the exact base types
travel: whatever else a learner's function returns arrives as the name of its type.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

SIZES = {name: np.dtype(name).itemsize for name in "float64 float32 float16 int64 int32 int16 int8 uint8 bool".split()}
SCALARS = {np.dtype(name).type for name in SIZES}
LENGTH_BYTES = 8
LONGEST_HEADER = 1 << 22  # bytes; read as JSON, three of them can become a list of sixty


@dataclass(frozen=True)
class Other:
    """What did not travel: a value of this type."""

    type_name: str


def pack(value: Any) -> bytes:
    """A frame: its length, the length of the header, the header, and the bytes of all arrays in order."""
    arrays: list[bytes] = []
    header = json.dumps(_describe(value, arrays)).encode()
    body = b"".join([len(header).to_bytes(LENGTH_BYTES, "little"), header, *arrays])
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


def _describe(value: Any, arrays: list[bytes]) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in SCALARS:
        return value.item()
    if kind in (list, tuple):
        return {kind.__name__: [_describe(item, arrays) for item in value]}
    if kind is dict and all(type(key) is str for key in value):
        return {"dict": [[key, _describe(item, arrays)] for key, item in value.items()]}
    if kind is np.ndarray and value.dtype.name in SIZES:
        arrays.append(value.astype(value.dtype.name).tobytes())  # a subclass, or Python objects, do not come here
        return {"array": value.dtype.name, "shape": list(value.shape)}
    return {"other": kind.__name__ if kind is not np.ndarray else f"array of {value.dtype.name}"}


def unpack(body: bytes) -> Any:
    """The value in a frame, without the frame's own length. Trusts nothing in it.

    Raises:
        ValueError: it is not what `pack` makes.
    """
    reader = _Reader(body)
    length = int.from_bytes(reader.take(LENGTH_BYTES), "little")
    if length > LONGEST_HEADER:
        raise ValueError(f"unreadable: a header of more than {LONGEST_HEADER} bytes")
    try:
        value = reader.value(json.loads(reader.take(length)))
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as problem:
        raise ValueError(f"unreadable: {type(problem).__name__}") from None
    if reader.place != len(body):
        raise ValueError("unreadable: more bytes than its arrays have")
    return value


class _Reader:
    def __init__(self, body: bytes) -> None:
        self.body, self.place = body, 0

    def take(self, count: int) -> bytes:
        piece = self.body[self.place : self.place + count]
        if count < 0 or len(piece) != count:
            raise ValueError("unreadable: cut short")
        self.place += count
        return piece

    def value(self, described: Any) -> Any:
        if not isinstance(described, dict):
            return described
        if "array" in described:
            shape = tuple(int(size) for size in described["shape"])
            if any(size < 0 for size in shape) or len(shape) > 32:
                raise ValueError("unreadable: no shape")
            array = np.frombuffer(self.take(math.prod(shape) * SIZES[described["array"]]), described["array"])
            return (array.view(np.uint8) != 0 if array.dtype == bool else array.copy()).reshape(shape)
        if "dict" in described:
            return {str(key): self.value(item) for key, item in described["dict"]}
        if "other" in described:
            return Other(str(described["other"]))
        kind = tuple if "tuple" in described else list
        return kind(self.value(item) for item in described[kind.__name__])
