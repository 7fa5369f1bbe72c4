"""Batches: pack documents of different lengths into rows of one length, so that few positions are wasted.

A row consists of documents, each followed by the end-of-text token. The model learns that the tokens before that token
say nothing about the tokens after it. Every row begins with a new document, as a prompt does.

    row of 12 tokens:   Once upon a time <end> 2 + 3 = 5 <end> IGNORED
"""

from collections.abc import Iterable, Iterator

import numpy as np

from minillm.arrays import Array, Int
from minillm.training.losses import IGNORED

WAITING = 256  # documents from which the next one that fits is chosen


def pack(documents: Iterable[list[int]], time: int, end_of_text: int) -> Int[Array, "rows length"]:
    """Return rows of `time` + 1 tokens: the inputs are the first `time`, the targets the last `time`.

    The document that has waited longest begins each row. After it comes the first waiting document that fits, until
    none fits. The empty end of a row is filled with IGNORED. A document longer than a row is cut.
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
    return next((index for index, document in enumerate(waiting) if len(document) <= room), None)


def _padded(row: list[int], length: int) -> Int[Array, "length"]:
    return np.array(row + [IGNORED] * (length - len(row)), np.int32)


def split_row(rows: Int[Array, "batch length"]) -> tuple[Int[Array, "batch time"], Int[Array, "batch time"]]:
    """Return inputs and targets: each target is the token after its input.

    As an input, padding is token 0. As a target it stays IGNORED.
    """
    return np.maximum(rows[:, :-1], 0), rows[:, 1:]
