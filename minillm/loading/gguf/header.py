"""Read the header of a GGUF file: its metadata, and the offset of each tensor. Every number is checked before use.

The gguf library's own reader trusts the header and makes an array for each value of a list. A false length makes it
loop forever, a list of 4 MB takes gigabytes, and a vocabulary of 128,000 tokens takes ten seconds. Here every length is
compared with the number of bytes left in the file, and a list is read at once. Source: ggml's docs/gguf.md.
"""

import math
import mmap
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minillm.support.wording import counted

STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}  # as struct
MOST_VALUES = 4_000_000  # metadata, list entries and tensors; a large vocabulary with its merges has 1.5 million


@dataclass(frozen=True)
class TensorPlace:
    """The position of a tensor in the file. `shape` has the fastest axis first, as in the file: `[in, out]`."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int
    size: int


@dataclass(frozen=True)
class GgufHeader:
    """The contents of a checked header: metadata (numbers, strings and lists) by name, and the tensors in order."""

    metadata: dict[str, Any]
    tensors: list[TensorPlace]


class Walker:
    """Reads values at a position in the file that only moves forward, and never past the end."""

    def __init__(self, data: mmap.mmap, name: str) -> None:
        self.data, self.name, self.place, self.values = data, name, 0, 0

    def wrong(self, what: str) -> ValueError:
        """Return a one-line error that names the file."""
        return ValueError(f"{self.name}: {what}")

    def skip(self, count: int) -> int:
        """Move `count` bytes forward, and return the position before."""
        if count > len(self.data) - self.place:
            raise self.wrong(f"truncated: {count} bytes are needed at {self.place}, the file has {len(self.data)}")
        self.place += count
        return self.place - count

    def count(self) -> int:
        """Read the number of entries that follow. Each entry takes at least one byte."""
        count = self.number("Q")
        self.values += count
        most = min(MOST_VALUES, len(self.data))
        if self.values > most:
            raise self.wrong(f"{count} entries at {self.place}; expected at most {most} in the whole file")
        return count

    def number(self, form: str) -> int:
        """Read one number. `form` is its letter in the struct module, for example "I" for 4 bytes, unsigned."""
        (value,) = self.numbers(form, 1)
        return int(value)

    def numbers(self, form: str, count: int) -> tuple[Any, ...]:
        """Read `count` numbers."""
        form = f"<{count}{form}"
        return struct.unpack_from(form, self.data, self.skip(struct.calcsize(form)))

    def string(self) -> str:
        """Read a string: a length in bytes, then the bytes in UTF-8."""
        length = self.number("Q")
        begin = self.skip(length)
        try:
            return self.data[begin : begin + length].decode("utf-8")
        except UnicodeDecodeError:
            raise self.wrong(f"the text at {begin} is not UTF-8") from None

    def value(self, kind: int) -> Any:
        """Read one metadata value: a number, a string, or a list of either."""
        if kind in SCALARS:
            return self.numbers(SCALARS[kind], 1)[0]
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            raise self.wrong(f"metadata type {kind} is unknown")
        element, count = self.number("I"), self.count()
        if element in SCALARS:
            return list(self.numbers(SCALARS[element], count))
        if element != STRING:
            raise self.wrong(f"the list at {self.place} has type {element}; expected numbers or strings")
        return [self.string() for _ in range(count)]


def read_header(path: Path) -> GgufHeader:
    """Return the header of this file.

    Raises:
        ValueError: the header is invalid, or a tensor is not inside the file.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if path.stat().st_size < 24:
            raise ValueError(f"{path.name}: truncated, or not a GGUF file: {path.stat().st_size} bytes")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read(Walker(data, path.name))


def _read(walker: Walker) -> GgufHeader:
    if walker.data[walker.skip(4) : walker.place] != b"GGUF":
        raise walker.wrong("not a GGUF file: it does not begin with GGUF")
    version = walker.number("I")
    if version not in (2, 3):
        raise walker.wrong(f"GGUF version {version}; expected 2 or 3")
    tensors, entries = walker.count(), walker.count()
    metadata: dict[str, Any] = {}
    for _ in range(entries):
        key, kind = walker.string(), walker.number("I")
        if key in metadata:
            raise walker.wrong(f"duplicate metadata key {key[:60]!r}")
        metadata[key] = walker.value(kind)
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 1 <= alignment <= 2**20 or alignment & (alignment - 1):
        raise walker.wrong(f"general.alignment is {str(alignment)[:40]!r}; expected a power of two up to 2^20")
    found = [_tensor(walker) for _ in range(tensors)]
    start = -(-walker.place // alignment) * alignment  # where the data begins: offsets count from here
    places = [replace(tensor, offset=start + tensor.offset) for tensor in found]
    _check_places(walker, places, alignment)
    return GgufHeader(metadata, places)


def _tensor(walker: Walker) -> TensorPlace:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    name, dimensions = walker.string(), walker.number("I")
    if not 1 <= dimensions <= 4:
        raise walker.wrong(f"tensor {name[:60]!r} has {counted(dimensions, 'dimension')}; expected 1 to 4")
    shape = walker.numbers("Q", dimensions)
    kind, offset = walker.number("I"), walker.number("Q")
    if kind not in map(int, GGMLQuantizationType):
        raise walker.wrong(f"tensor {name[:60]!r} is of unknown type {kind}")
    block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    if min(shape) < 1 or shape[0] % block or math.prod(shape) >= 2**62:
        raise walker.wrong(f"tensor {name[:60]!r} has shape {list(shape)}; expected a row length divisible by {block}")
    return TensorPlace(name, shape, kind, offset, math.prod(shape) // block * block_bytes)


def _check_places(walker: Walker, places: list[TensorPlace], alignment: int) -> None:
    """Raise ValueError unless all tensors are inside the file and no two overlap."""
    if len({tensor.name for tensor in places}) < len(places):
        raise walker.wrong("two tensors have the same name")
    free = 0
    for tensor in sorted(places, key=lambda tensor: tensor.offset):
        if tensor.offset % alignment or tensor.offset + tensor.size > len(walker.data):
            raise walker.wrong(f"tensor {tensor.name[:60]!r} is outside the file; is the file truncated?")
        if tensor.offset < free:
            raise walker.wrong(f"tensor {tensor.name[:60]!r} overlaps the one before it")
        free = tensor.offset + tensor.size
