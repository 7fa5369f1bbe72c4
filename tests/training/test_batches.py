"""Packing documents into rows loses nothing but the ends of those that are too long."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minillm.training.batches import pack, split_row
from minillm.training.losses import IGNORED

documents = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=14), max_size=40)


@given(documents, st.integers(2, 12))
def test_every_document_stands_whole_in_one_row(texts, time):
    rows = pack(texts, time, end_of_text=0)
    assert rows.shape[1] == time + 1
    found = []
    for row in rows:
        kept = row[row != IGNORED].tolist()
        assert kept == row[: len(kept)].tolist()  # padding only at the end
        document = []
        for token in kept:
            document.append(token)
            if token == 0:
                found.append(document)
                document = []
        found += [document] if document else []
    assert sorted(found) == sorted([*text, 0][: time + 1] for text in texts)


@given(documents)
def test_no_row_is_empty_and_the_longest_waiting_document_begins_it(texts):
    rows = pack(texts, 10, end_of_text=0)
    if texts:
        first = [*texts[0], 0][:11]
        assert rows[0, : len(first)].tolist() == first
    assert all(row[0] != IGNORED for row in rows)


def test_short_documents_share_a_row():
    assert pack([[1, 2, 3]] * 3, 11, end_of_text=0).tolist() == [[1, 2, 3, 0] * 3]


def test_targets_are_the_next_tokens_and_padding_is_none():
    inputs, targets = split_row(np.array([[5, 6, 0, IGNORED]], np.int16))
    assert inputs.tolist() == [[5, 6, 0]] and targets.tolist() == [[6, 0, IGNORED]]
    inputs, _ = split_row(np.array([[5, 0, IGNORED, IGNORED]], np.int16))
    assert inputs.tolist() == [[5, 0, 0]]
