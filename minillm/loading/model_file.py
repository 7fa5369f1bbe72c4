"""Read ranges of a model file that must stay the same file from its header to its last tensor.

Values are copied out of the file. A mapped file would take no time and no memory, but when another program shortens it,
as one that saves over it does, the next access ends the process by a bus error.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from minillm.arrays import Array


@dataclass(frozen=True)
class FileState:
    """Which file it is, its size, and the time of its last change."""

    inode: int
    size: int
    changed_ns: int


def state_of(file: IO[bytes]) -> FileState:
    """Return the state of an open file."""
    status = os.fstat(file.fileno())
    return FileState(status.st_ino, status.st_size, status.st_mtime_ns)


def read_range(path: Path, state: FileState, dtype: str, offset: int, shape: tuple[int, ...]) -> Array:
    """Return the values of a range that was inside the file when it had this state, as its header was checked.

    Raises:
        ValueError: the file has changed since.
    """
    with path.open("rb", buffering=0) as file:
        values = np.fromfile(file, dtype, math.prod(shape), offset=offset)
        if len(values) < math.prod(shape):
            raise changed(path.name, "became shorter")
        if state_of(file) != state:  # asked after reading, so no change is missed
            raise changed(path.name, "changed")
    return values.reshape(shape)


def read_rows(path: Path, state: FileState, dtype: str, offset: int, shape: tuple[int, int], row_bytes: int) -> Array:
    """Return the values of a part of a matrix `[rows, columns]`: each row begins `row_bytes` after the one before.

    Raises:
        ValueError: the file has changed since it had this state.
    """
    if row_bytes == shape[1] * np.dtype(dtype).itemsize:  # whole rows
        return read_range(path, state, dtype, offset, shape)
    values = np.empty(shape, dtype)
    with path.open("rb", buffering=0) as file:
        for number, row in enumerate(values):
            file.seek(offset + number * row_bytes)
            if file.readinto(row.data.cast("B")) < row.nbytes:
                raise changed(path.name, "became shorter")
        if state_of(file) != state:
            raise changed(path.name, "changed")
    return values


def changed(name: str, how: str) -> ValueError:
    """Return the error for a file that another program writes to."""
    return ValueError(f"{name}: {how} while it was read; do not change it during loading")
