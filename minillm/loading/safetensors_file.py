"""Safetensors files: the header is checked against the file's size, then each tensor is mapped when it is read.

Format: 8 bytes with the header's length (little endian), a JSON object {name: {dtype, shape, data_offsets}}, the data.
Offsets count from the end of the header; tensors follow each other without holes or overlaps. A header comes from a
stranger: nothing in it is believed before it is checked. NumPy has no bfloat16, so its bits are widened: a bfloat16 is
the upper half of a float32. Source: the safetensors README, "Format".
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short  # never long, whatever the value's size and depth
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
    """One tensor of a checked file."""

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def read(self) -> Array:
        """A read-only view of the file in the stored float type; bfloat16 as a float32 array.

        Raises:
            ValueError: the tensor holds no floats, or the file has become shorter since it was checked.
        """
        if self.dtype not in DTYPES:
            expected = ", ".join(DTYPES)
            raise ValueError(f"{self.path.name}: tensor {self.name!r} is of type {self.dtype}; expected {expected}")
        if math.prod(self.shape) == 0:
            return np.zeros(self.shape, np.float32)
        mapped = map_file(self.path, DTYPES[self.dtype], self.offset, self.shape)
        return widen_bfloat16(mapped) if self.dtype == "BF16" else np.asarray(mapped)


def map_file(path: Path, dtype: str, offset: int, shape: tuple[int, ...]) -> Array:
    """A read-only view of a part of a file; the part was inside the file when its header was checked."""
    try:
        return np.memmap(str(path), dtype, "r", offset, shape)  # a Path would be resolved anew for every tensor
    except ValueError:
        raise ValueError(f"{path.name}: has become shorter while it was read; expected a file at rest") from None


def widen_bfloat16(bits: Array) -> Array:
    """bfloat16 bit patterns (uint16) as float32: the same sign, exponent and upper fraction, then 16 zero bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def read_safetensors(path: Path) -> dict[str, MappedTensor]:
    """The tensors of one file by name.

    Raises:
        ValueError: the header does not describe this file.
        OSError: the file is missing or cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, LONGEST_HEADER):
            raise ValueError(f"{path.name}: cut short, or no safetensors file: {size} bytes, a header of {length}")
        header = parse_json(file.read(length), path.name)
    if not isinstance(header, dict):
        raise ValueError(f"{path.name}: expected a header of named tensors")
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
    if not _whole_numbers(shape) or len(shape) > 8:
        raise ValueError(f"{where}: shape is {short(shape)}; expected whole numbers")
    if not _whole_numbers(offsets) or len(offsets) != 2:
        raise ValueError(f"{where}: data_offsets is {short(offsets)}; expected a begin and an end")
    begin, end = offsets
    expected = math.prod(shape) * SIZES[dtype]
    if end - begin != expected:
        raise ValueError(f"{where}: holds {end - begin} bytes; its shape {shape} of {dtype} takes {expected}")
    if data_start + end > size:
        raise ValueError(f"{where}: ends {data_start + end - size} bytes behind the file's end; is the file cut short?")
    return MappedTensor(path, name, dtype, tuple(shape), data_start + begin)


def _whole_numbers(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**62 for n in values)


def _check_no_overlap(path: Path, tensors: Iterable[MappedTensor], start: int, size: int) -> None:
    for tensor in sorted(tensors, key=lambda t: (t.offset, math.prod(t.shape))):
        if tensor.offset != start:
            raise ValueError(f"{path.name}: tensor {tensor.name[:80]!r} begins at {tensor.offset}; expected {start}")
        start += math.prod(tensor.shape) * SIZES[tensor.dtype]
    if start != size:
        raise ValueError(f"{path.name}: {size - start} bytes belong to no tensor")


def read_folder_tensors(folder: Path) -> dict[str, MappedTensor]:
    """The tensors of `model.safetensors`, or of the shards that `model.safetensors.index.json` lists.

    A file that is a link is followed (the Hugging Face cache is made of links): the folder's owner made it. An index
    comes from a stranger, so it may only name files of this folder.

    Raises:
        ValueError: the index names something that is no plain file name, or a tensor that is not in its shard.
        OSError: a file is missing.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists() or not index.exists():
        return read_safetensors(_required(single))
    values = read_json(index, LARGEST_INDEX)
    weight_map = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(weight_map, dict):
        raise ValueError(f"{index.name}: expected an object weight_map of tensor names and file names")
    for file in weight_map.values():
        if not isinstance(file, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}", file):
            raise ValueError(f"{index.name}: {short(file)} is no name of a file in this folder")
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
