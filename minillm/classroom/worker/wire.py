"""Serialise values between the checker and its worker: JSON, with arrays as raw bytes. No pickle is used.

The worker process imports this file without the package, so it uses only NumPy. Only exact base types are sent. For any
other type, only the name of the type is sent.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

DTYPES = "float64 float32 float16 int64 int32 int16 int8 uint32 uint16 uint8 bool"
SIZES = {name: np.dtype(name).itemsize for name in DTYPES.split()}
SCALARS = {np.dtype(name).type for name in SIZES}
LENGTH_BYTES = 8
LONGEST_HEADER = 1 << 22  # bytes; in memory, JSON takes up to 20 times as much: 3 bytes can become a list of 60


@dataclass(frozen=True)
class Other:
    """Stands for a value of a type that cannot be sent."""

    type_name: str


def pack(value: Any) -> bytes:
    """Return a frame: its length, the length of the header, the header, then the bytes of all arrays in order."""
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
        arrays.append(value.astype(value.dtype.name).tobytes())  # never a subclass or an array of objects
        return {"array": value.dtype.name, "shape": list(value.shape)}
    return {"other": kind.__name__ if kind is not np.ndarray else f"array of {value.dtype.name}"}


def unpack(body: bytes) -> Any:
    """Return the value of a frame, given without the frame's length. The frame is not trusted.

    Raises:
        ValueError: if the frame is not valid.
    """
    reader = _Reader(body)
    length = int.from_bytes(reader.take(LENGTH_BYTES), "little")
    if length > LONGEST_HEADER:
        raise ValueError(f"unreadable: a header of more than {LONGEST_HEADER} bytes")
    try:
        value = reader.value(json.loads(reader.take(length)))
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as problem:
        raise ValueError(f"unreadable: {type(problem).__name__}") from None
    if reader.offset != len(body):
        raise ValueError("unreadable: more bytes than the arrays have")
    return value


class _Reader:
    def __init__(self, body: bytes) -> None:
        self.body, self.offset = body, 0

    def take(self, count: int) -> bytes:
        taken = self.body[self.offset : self.offset + count]
        if count < 0 or len(taken) != count:
            raise ValueError("unreadable: too few bytes")
        self.offset += count
        return taken

    def value(self, described: Any) -> Any:
        if not isinstance(described, dict):
            return described
        if "array" in described:
            shape = tuple(int(size) for size in described["shape"])
            if any(size < 0 for size in shape) or len(shape) > 32:
                raise ValueError("unreadable: invalid shape")
            array = np.frombuffer(self.take(math.prod(shape) * SIZES[described["array"]]), described["array"])
            return (array.view(np.uint8) != 0 if array.dtype == bool else array.copy()).reshape(shape)
        if "dict" in described:
            return {str(key): self.value(item) for key, item in described["dict"]}
        if "other" in described:
            return Other(str(described["other"]))
        kind = tuple if "tuple" in described else list
        return kind(self.value(item) for item in described[kind.__name__])
