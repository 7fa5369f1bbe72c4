"""Read safetensors files: check the header against the file's size, then read each tensor when it is asked for.

Format: 8 bytes with the header's length (little endian), a JSON object {name: {dtype, shape, data_offsets}}, the data.
Offsets count from the end of the header. Tensors follow each other without gaps or overlaps. The header is untrusted:
every value is checked before it is used. NumPy has no bfloat16, so bfloat16 is read as float32, which holds the same
values. Source: the safetensors README, "Format".
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as short  # short for values of any size and depth
from typing import Any, TypeGuard

from minillm.arrays import Array
from minillm.loading.folder_kinds import looks_like, names_in
from minillm.loading.model_file import FileState, read_range, read_rows, state_of
from minillm.loading.model_kinds import UNQUANTISED
from minillm.quantization import Bfloat16, Float16, Matrix
from minillm.quantization.bfloat16 import widen
from minillm.support.file_kinds import LONGEST_KIND, seems
from minillm.support.files import parse_json, read_json

LONGEST_HEADER = LARGEST_INDEX = 25_000_000  # bytes: room for 200,000 tensors
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
FORMATS = {"BF16": "bfloat16", "F16": "float16"}
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2,
         "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}  # fmt: skip


@dataclass(frozen=True)
class SafetensorsTensor:
    """One tensor of a file whose header was checked when the file had this state; or a part of a matrix, `cut`.

    `row_bytes` is the distance of a part's rows in the file.
    """

    path: Path
    state: FileState
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    row_bytes: int | None = None
    rows_together = 1

    def cut(self, rows: range, columns: range) -> "SafetensorsTensor":
        """Return a part of a matrix."""
        size, row_bytes = SIZES[self.dtype], self.row_bytes or self.shape[1] * SIZES[self.dtype]
        offset = self.offset + rows.start * row_bytes + columns.start * size
        return replace(self, shape=(len(rows), len(columns)), offset=offset, row_bytes=row_bytes)

    @property
    def format(self) -> str:
        """Return "bfloat16", "float16", or "float32" for other types."""
        return FORMATS.get(self.dtype, "float32")

    def stored(self) -> Matrix:
        """Return a matrix in its `format`, with the numbers that are in the file."""
        numbers = self._numbers()
        return {"BF16": Bfloat16, "F16": Float16}[self.dtype](numbers) if self.dtype in FORMATS else numbers

    def read(self) -> Array:
        """Return the values in the stored float type; for bfloat16, in float32.

        Raises:
            ValueError: the tensor does not contain floats, or the file has changed since it was checked.
        """
        numbers = self._numbers()
        return widen(numbers) if self.dtype == "BF16" else numbers

    def _numbers(self) -> Array:
        if self.dtype not in DTYPES:
            expected = ", ".join(DTYPES)
            kind = f"other types are of quantised weights: {UNQUANTISED}"
            where = f"{self.path.name}: tensor {self.name!r}"
            raise ValueError(f"{where} is of type {self.dtype}; expected {expected}; {kind}")
        dtype = DTYPES[self.dtype]
        if self.row_bytes is not None:
            return read_rows(self.path, self.state, dtype, self.offset, (self.shape[0], self.shape[1]), self.row_bytes)
        return read_range(self.path, self.state, dtype, self.offset, self.shape)


def read_safetensors(path: Path) -> dict[str, SafetensorsTensor]:
    """Return the tensors of one file by name.

    Raises:
        ValueError: the header does not match this file.
        OSError: the file is missing or cannot be read.
    """
    with path.open("rb") as file:
        state = state_of(file)
        start = file.read(LONGEST_KIND)
        length, room = int.from_bytes(start[:8], "little"), state.size - 8
        if room < 0 or length > min(room, LONGEST_HEADER):
            raise ValueError(
                f"{path.name}: truncated, or not a safetensors file: it has {state.size} bytes, its header "
                f"{length}{seems(start, 'a safetensors file')}"
            )
        file.seek(8)
        header = parse_json(file.read(length), path.name, start)
    if not isinstance(header, dict):
        raise ValueError(f"{path.name}: the header is not a JSON object; expected tensors by name")
    header.pop("__metadata__", None)
    tensors = {name: _tensor(path, state, name, entry, 8 + length) for name, entry in header.items()}
    _check_no_overlap(path, tensors.values(), 8 + length, state.size)
    return tensors


def _tensor(path: Path, state: FileState, name: str, entry: Any, data_start: int) -> SafetensorsTensor:
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
    if data_start + end > state.size:
        over = data_start + end - state.size
        raise ValueError(f"{where}: ends {over} bytes after the file's end; is the file truncated?")
    return SafetensorsTensor(path.absolute(), state, name, dtype, tuple(shape), data_start + begin)


def _are_sizes(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**62 for n in values)


def _check_no_overlap(path: Path, tensors: Iterable[SafetensorsTensor], start: int, size: int) -> None:
    for tensor in sorted(tensors, key=lambda t: (t.offset, math.prod(t.shape))):
        if tensor.offset != start:
            raise ValueError(f"{path.name}: tensor {tensor.name[:80]!r} begins at {tensor.offset}; expected {start}")
        start += math.prod(tensor.shape) * SIZES[tensor.dtype]
    if start != size:
        raise ValueError(f"{path.name}: {size - start} bytes belong to no tensor")


def read_folder_tensors(folder: Path) -> dict[str, SafetensorsTensor]:
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
        raise FileNotFoundError(f"{path.parent}: {path.name} is missing{looks_like(names_in(path.parent))}")
    return path
