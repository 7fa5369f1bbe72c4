"""Read the header of a GGUF file: its metadata, and the offset of each tensor. Every number is checked before use.

The gguf library's own reader trusts the header and makes an array for each value of a list. A false length makes it
loop forever, a list of 4 MB takes gigabytes, and a vocabulary of 128,000 tokens takes ten seconds. Here every length is
compared with the number of bytes left in the file, and a list is read at once. Source: ggml's docs/gguf.md.
"""

import math
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from minillm.loading.model_file import FileState, changed, state_of
from minillm.support.file_kinds import LONGEST_KIND, seems
from minillm.support.wording import counted

STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}  # as struct
MOST_VALUES = 4_000_000  # metadata, list entries and tensors; a large vocabulary with its merges has 1.5 million


@dataclass(frozen=True)
class TensorPlace:
    """The position of a tensor in a file that had this state.

    `shape` has the fastest axis first, as in the file: `[in, out]`.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int
    size: int
    state: FileState


@dataclass(frozen=True)
class GgufHeader:
    """The contents of a checked header: metadata (numbers, strings and lists) by name, and the tensors in order."""

    metadata: dict[str, Any]
    tensors: list[TensorPlace]


class Walker:
    """Reads values at a position in the file that only moves forward, and never past the end."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.file, self.name, self.state = file, name, state_of(file)
        self.place, self.values = 0, 0

    def wrong(self, what: str) -> ValueError:
        """Return a one-line error that names the file."""
        return ValueError(f"{self.name}: {what}")

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        if count > self.state.size - self.place:
            raise self.wrong(f"truncated: {count} bytes are needed at {self.place}, the file has {self.state.size}")
        data = self.file.read(count)
        if len(data) < count:
            raise changed(self.name, "became shorter")
        self.place += count
        return data

    def count(self) -> int:
        """Read the number of entries that follow. Each entry takes at least one byte."""
        count = self.number("Q")
        self.values += count
        most = min(MOST_VALUES, self.state.size)
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
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def text(self) -> str | bytes:
        """Read a text: a length in bytes, then the bytes. What is not UTF-8 stays bytes, refused where it is used."""
        data = self.take(self.number("Q"))
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data

    def key(self) -> str:
        """Read the name of a value or of a tensor, which is UTF-8."""
        begin, name = self.place, self.text()
        if isinstance(name, bytes):
            raise self.wrong(f"the name at {begin} is not UTF-8")
        return name

    def value(self, kind: int) -> Any:
        """Read one metadata value: a number, a string, or a list of either."""
        if kind in SCALARS:
            return self.numbers(SCALARS[kind], 1)[0]
        if kind == STRING:
            return self.text()
        if kind != ARRAY:
            raise self.wrong(f"metadata type {kind} is unknown")
        element, count = self.number("I"), self.count()
        if element in SCALARS:
            return list(self.numbers(SCALARS[element], count))
        if element != STRING:
            raise self.wrong(f"the list at {self.place} has type {element}; expected numbers or strings")
        return [self.text() for _ in range(count)]


def read_header(path: Path) -> GgufHeader:
    """Return the header of this file.

    Raises:
        ValueError: the header is invalid, or a tensor is not inside the file.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(LONGEST_KIND)
        file.seek(0)
        walker = Walker(file, path.name)
        if walker.state.size < 24:
            raise walker.wrong(f"truncated, or not a GGUF file: {walker.state.size} bytes{seems(start, 'a GGUF file')}")
        if walker.take(4) != b"GGUF":
            raise walker.wrong(f"not a GGUF file: it does not begin with GGUF{seems(start)}")
        version = walker.number("I")
        if version not in (2, 3):
            raise walker.wrong(f"GGUF version {version}; expected 2 or 3{seems(start, 'a GGUF file')}")
        return _read(walker)


def _read(walker: Walker) -> GgufHeader:
    """Read what follows the version."""
    tensors, entries = walker.count(), walker.count()
    metadata: dict[str, Any] = {}
    for _ in range(entries):
        key, kind = walker.key(), walker.number("I")
        if key in metadata:
            raise walker.wrong(f"duplicate metadata key {key[:60]!r}")
        metadata[key] = walker.value(kind)
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 1 <= alignment <= 2**20 or alignment & (alignment - 1):
        raise walker.wrong(f"general.alignment is {str(alignment)[:40]!r}; expected a power of two up to 2^20")
    found = [_tensor(walker) for _ in range(tensors)]
    start = -(-walker.place // alignment) * alignment  # where the data begins: offsets count from here
    places = [replace(tensor, offset=start + tensor.offset) for tensor in found]
    return GgufHeader(metadata, places)


def _tensor(walker: Walker) -> TensorPlace:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    name, dimensions = walker.key(), walker.number("I")
    if not 1 <= dimensions <= 4:
        raise walker.wrong(f"tensor {name[:60]!r} has {counted(dimensions, 'dimension')}; expected 1 to 4")
    shape = walker.numbers("Q", dimensions)
    kind, offset = walker.number("I"), walker.number("Q")
    if kind not in map(int, GGMLQuantizationType):
        raise walker.wrong(f"tensor {name[:60]!r} is of unknown type {kind}")
    block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    if min(shape) < 1 or shape[0] % block or math.prod(shape) >= 2**62:
        raise walker.wrong(f"tensor {name[:60]!r} has shape {list(shape)}; expected a row length divisible by {block}")
    return TensorPlace(name, shape, kind, offset, math.prod(shape) // block * block_bytes, walker.state)


def check_places(header: GgufHeader, path: Path) -> None:
    """Raise ValueError unless all tensors are inside the file and no two overlap."""

    def wrong(tensor: TensorPlace, what: str) -> ValueError:
        return ValueError(f"{path.name}: tensor {tensor.name[:60]!r} {what}")

    alignment, free, names = header.metadata.get("general.alignment", 32), 0, set()
    for tensor in sorted(header.tensors, key=lambda tensor: tensor.offset):
        if tensor.name in names:
            raise wrong(tensor, "has the same name as another one")
        if tensor.offset % alignment or tensor.offset + tensor.size > tensor.state.size:
            raise wrong(tensor, "is outside the file; is the file truncated?")
        if tensor.offset < free:
            raise wrong(tensor, "overlaps the one before it")
        free = tensor.offset + tensor.size
        names.add(tensor.name)
