"""Batches: documents of all lengths laid into rows of one length, so that no position is wasted.

A row is documents end to end, each followed by the end-of-text token; the model learns that what stands before one
says nothing about what comes after. Every row begins with a new document, as a prompt does.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from minillm.arrays import Array, Int
from minillm.training.losses import IGNORED

WAITING = 256  # documents that wait for a row in which they fit


def pack(documents: Iterable[list[int]], time: int, end_of_text: int) -> Int[Array, "rows length"]:
    """Rows of `time` inputs and, one place on, as many targets; what stays empty at a row's end holds IGNORED.

    The document that has waited longest begins each row; of the others the first that fits comes next. A document
    longer than a row is cut.
    """
    rows = [_padded(row, time + 1) for row in _rows(iter(documents), time + 1, end_of_text)]
    return np.stack(rows) if rows else np.empty((0, time + 1), np.int32)


def _rows(documents: Iterator[list[int]], length: int, end_of_text: int) -> Iterator[list[int]]:
    waiting: list[list[int]] = []
    while True:
        for document in documents:
            waiting.append([*document, end_of_text][:length])
            if len(waiting) == WAITING:
                break
        if not waiting:
            return
        row = waiting.pop(0)
        while (fit := _first_fit(waiting, length - len(row))) is not None:
            row = row + waiting.pop(fit)
        yield row


def _first_fit(waiting: list[list[int]], room: int) -> int | None:
    return next((place for place, document in enumerate(waiting) if len(document) <= room), None)


def _padded(row: list[int], length: int) -> Int[Array, "length"]:
    return np.array(row + [IGNORED] * (length - len(row)), np.int32)


def split_row(rows: Int[Array, "batch length"]) -> tuple[Int[Array, "batch time"], Int[Array, "batch time"]]:
    """Inputs and targets: each target is the token after its input. Padding is fed as token 0 and is no target."""
    return np.maximum(rows[:, :-1], 0), rows[:, 1:]
