"""Read safetensors files: check the header against the file's size, then map each tensor when it is read.

Format: 8 bytes with the header's length (little endian), a JSON object {name: {dtype, shape, data_offsets}}, the data.
Offsets count from the end of the header. Tensors follow each other without gaps or overlaps. The header is untrusted:
every value is checked before it is used. NumPy has no bfloat16, so bfloat16 is converted to float32: a bfloat16 is the
upper half of a float32. Source: the safetensors README, "Format".
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short  # short for values of any size and depth
from typing import Any, TypeGuard

import numpy as np

from minillm.arrays import Array
from minillm.support.files import parse_json, read_json

LONGEST_HEADER = LARGEST_INDEX = 25_000_000  # bytes: room for 200,000 tensors
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2,
         "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}  # fmt: skip


@dataclass(frozen=True)
class MappedTensor:
    """One tensor of a file whose header was checked."""

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def read(self) -> Array:
        """Return a read-only view of the file in the stored float type; for bfloat16, a float32 array.

        Raises:
            ValueError: the tensor does not contain floats, or the file has become shorter since it was checked.
        """
        if self.dtype not in DTYPES:
            expected = ", ".join(DTYPES)
            raise ValueError(f"{self.path.name}: tensor {self.name!r} is of type {self.dtype}; expected {expected}")
        if math.prod(self.shape) == 0:
            return np.zeros(self.shape, np.float32)
        mapped = map_file(self.path, DTYPES[self.dtype], self.offset, self.shape)
        return widen_bfloat16(mapped) if self.dtype == "BF16" else np.asarray(mapped)


def map_file(path: Path, dtype: str, offset: int, shape: tuple[int, ...]) -> Array:
    """Return a read-only view of a range of the file, which was inside the file when its header was checked."""
    try:
        return np.memmap(str(path), dtype, "r", offset, shape)  # a Path would be resolved again for every tensor
    except ValueError:
        raise ValueError(f"{path.name}: became shorter while it was read; do not change it during loading") from None


def widen_bfloat16(bits: Array) -> Array:
    """Convert bfloat16 bit patterns (uint16) to float32: the same sign, exponent and fraction, then 16 zero bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def read_safetensors(path: Path) -> dict[str, MappedTensor]:
    """Return the tensors of one file by name.

    Raises:
        ValueError: the header does not match this file.
        OSError: the file is missing or cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, LONGEST_HEADER):
            raise ValueError(
                f"{path.name}: truncated, or not a safetensors file: it has {size} bytes, its header {length}"
            )
        header = parse_json(file.read(length), path.name)
    if not isinstance(header, dict):
        raise ValueError(f"{path.name}: the header is not a JSON object; expected tensors by name")
    header.pop("__metadata__", None)
    tensors = {name: _tensor(path, name, entry, 8 + length, size) for name, entry in header.items()}
    _check_no_overlap(path, tensors.values(), 8 + length, size)
    return tensors


def _tensor(path: Path, name: str, entry: Any, data_start: int, size: int) -> MappedTensor:
    where = f"{path.name}: tensor {name[:80]!r}"
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected dtype, shape and data_offsets")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise ValueError(f"{where}: dtype is {short(dtype)}; expected one of {', '.join(SIZES)}")
    if not _are_sizes(shape) or len(shape) > 8:
        raise ValueError(f"{where}: shape is {short(shape)}; expected a list of at most 8 integers")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"{where}: data_offsets is {short(offsets)}; expected a begin and an end")
    begin, end = offsets
    expected = math.prod(shape) * SIZES[dtype]
    if end - begin != expected:
        raise ValueError(f"{where}: has {end - begin} bytes; its shape {shape} of {dtype} requires {expected}")
    if data_start + end > size:
        raise ValueError(f"{where}: ends {data_start + end - size} bytes after the file's end; is the file truncated?")
    return MappedTensor(path, name, dtype, tuple(shape), data_start + begin)


def _are_sizes(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**62 for n in values)


def _check_no_overlap(path: Path, tensors: Iterable[MappedTensor], start: int, size: int) -> None:
    for tensor in sorted(tensors, key=lambda t: (t.offset, math.prod(t.shape))):
        if tensor.offset != start:
            raise ValueError(f"{path.name}: tensor {tensor.name[:80]!r} begins at {tensor.offset}; expected {start}")
        start += math.prod(tensor.shape) * SIZES[tensor.dtype]
    if start != size:
        raise ValueError(f"{path.name}: {size - start} bytes belong to no tensor")


def read_folder_tensors(folder: Path) -> dict[str, MappedTensor]:
    """Return the tensors of `model.safetensors`, or of the shards that `model.safetensors.index.json` lists.

    Symbolic links are followed, because the owner of the folder made them: the Hugging Face cache consists of links.
    The index is untrusted, so it may only name files of this folder.

    Raises:
        ValueError: the index has an entry that is not a plain file name, or a tensor that is not in its shard.
        OSError: a file is missing.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists() or not index.exists():
        return read_safetensors(_required(single))
    values = read_json(index, LARGEST_INDEX)
    weight_map = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(weight_map, dict):
        raise ValueError(f"{index.name}: expected an object weight_map from tensor names to file names")
    for file in weight_map.values():
        if not isinstance(file, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}", file):
            raise ValueError(f"{index.name}: {short(file)} is not a file name; expected the name of a file next to it")
    shards = {file: read_safetensors(_required(folder / file)) for file in set(weight_map.values())}
    for name, file in weight_map.items():
        if name not in shards[file]:
            raise ValueError(f"{index.name}: tensor {name[:80]!r} is not in {file}")
    return {name: shards[file][name] for name, file in weight_map.items()}


def _required(path: Path) -> Path:
    if not path.is_file():
        pickles = list(path.parent.glob("*.bin")) or list(path.parent.glob("*.pt"))
        hint = "; pickles such as *.bin are never opened: convert them to safetensors" if pickles else ""
        raise FileNotFoundError(f"{path.parent}: {path.name} is missing{hint}")
    return path
