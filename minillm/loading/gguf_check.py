"""Walk through a GGUF file's header and check every number in it, before the gguf library is let near it.

The library believes what a header says: a false length makes it loop or allocate without end. Here every length is
held against the bytes that are left before anything is done with it. Source: ggml's docs/gguf.md.
"""

import math
import mmap
import struct
from pathlib import Path

STRING, ARRAY = 8, 9
SCALAR_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class Walker:
    """A position in the file that only moves forward, inside its bounds."""

    def __init__(self, data: mmap.mmap, name: str) -> None:
        """At the beginning."""
        self.data, self.name, self.place = data, name, 0

    def wrong(self, what: str) -> ValueError:
        """A one-line error that names the file."""
        return ValueError(f"{self.name}: {what}")

    def skip(self, count: int) -> int:
        """Step over so many bytes; returns where they began."""
        if count > len(self.data) - self.place:
            raise self.wrong(f"cut short: {count} bytes are needed at {self.place}, the file has {len(self.data)}")
        self.place += count
        return self.place - count

    def number(self, form: str) -> int:
        """An unsigned number: "I" of 4 bytes, "Q" of 8."""
        size = struct.calcsize(f"<{form}")
        return int(struct.unpack_from(f"<{form}", self.data, self.skip(size))[0])

    def string(self) -> str:
        """A length and as many bytes of UTF-8."""
        length = self.number("Q")
        begin = self.skip(length)
        try:
            return self.data[begin : begin + length].decode("utf-8")
        except UnicodeDecodeError:
            raise self.wrong(f"the text at {begin} is not UTF-8") from None

    def value(self, kind: int) -> None:
        """Step over one metadata value."""
        if kind in SCALAR_SIZES:
            self.skip(SCALAR_SIZES[kind])
        elif kind == STRING:
            self.string()
        elif kind == ARRAY:
            element, count = self.number("I"), self.number("Q")
            if element in SCALAR_SIZES:
                self.skip(count * SCALAR_SIZES[element])
            elif element == STRING and count * 8 <= len(self.data) - self.place:
                for _ in range(count):
                    self.string()
            else:
                raise self.wrong(f"an array of {count} values of type {element} at {self.place} is not possible")
        else:
            raise self.wrong(f"metadata type {kind} is unknown")


def check_gguf(path: Path) -> None:
    """Raise ValueError unless the file's header is sound and every tensor lies inside the file."""
    with path.open("rb") as file:
        if path.stat().st_size < 24:
            raise ValueError(f"{path.name}: cut short, or no GGUF file: {path.stat().st_size} bytes")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _check(Walker(data, path.name))


def _check(walker: Walker) -> None:
    if walker.data[walker.skip(4) : walker.place] != b"GGUF":
        raise walker.wrong("no GGUF file: it does not begin with GGUF")
    version = walker.number("I")
    if version not in (2, 3):
        raise walker.wrong(f"GGUF version {version}; expected 2 or 3")
    tensors, entries = walker.number("Q"), walker.number("Q")
    if max(tensors, entries) > len(walker.data) // 8:
        raise walker.wrong(f"{tensors} tensors and {entries} metadata entries are more than its bytes can hold")
    alignment, keys = 32, set[str]()
    for _ in range(entries):
        key, kind = walker.string(), walker.number("I")
        if key in keys:
            raise walker.wrong(f"metadata {key[:60]!r} is there twice")
        keys.add(key)
        begin = walker.place
        walker.value(kind)
        if key == "general.alignment":
            if kind != 4:
                raise walker.wrong("general.alignment: expected a uint32")
            alignment = int(struct.unpack_from("<I", walker.data, begin)[0])
    if alignment < 1 or alignment & (alignment - 1) or alignment > 2**20:
        raise walker.wrong(f"general.alignment is {alignment}; expected a power of two")
    placed = [_tensor(walker) for _ in range(tensors)]
    if len({name for name, _, _ in placed}) < len(placed):
        raise walker.wrong("a tensor is there twice")
    data_start = -(-walker.place // alignment) * alignment
    for name, offset, size in placed:
        if offset % alignment or data_start + offset + size > len(walker.data):
            raise walker.wrong(f"tensor {name[:60]!r} lies outside the file; is it cut short?")
    free = 0
    for name, offset, size in sorted(placed, key=lambda tensor: tensor[1]):
        if offset < free:
            raise walker.wrong(f"tensor {name[:60]!r} overlaps the one before it")
        free = offset + size


def _tensor(walker: Walker) -> tuple[str, int, int]:
    """The name, offset and bytes of one tensor."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    name, dimensions = walker.string(), walker.number("I")
    if not 1 <= dimensions <= 4:
        raise walker.wrong(f"tensor {name[:60]!r} has {dimensions} dimensions; expected 1 to 4")
    shape = [walker.number("Q") for _ in range(dimensions)]
    kind, offset = walker.number("I"), walker.number("Q")
    if kind not in [int(known) for known in GGMLQuantizationType]:
        raise walker.wrong(f"tensor {name[:60]!r} is of unknown type {kind}")
    block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    if min(shape) < 1 or shape[0] % block or math.prod(shape) >= 2**62:
        raise walker.wrong(f"tensor {name[:60]!r} has shape {shape}; expected rows of a multiple of {block}")
    return name, offset, math.prod(shape) // block * block_bytes
