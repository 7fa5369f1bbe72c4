"""The script that trains the bundled models: what it reads, and what a checkpoint belongs to."""

import os
import sys

import numpy as np
import pytest

VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@pytest.fixture
def script(monkeypatch):
    """The module; what it sets for its own process is put back."""
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "1")
    monkeypatch.delitem(sys.modules, "train_weights", raising=False)
    import train_weights

    return train_weights


def test_rows_are_packed_anew_when_the_corpus_has_changed(script, tmp_path):
    corpus, packed = tmp_path / "train.jsonl", []
    for text in ("A cat.", "A dog."):
        corpus.write_text(f'{{"text": "{text}"}}\n' * 200)
        packed.append(script.packed_rows(corpus))
        os.utime(corpus.with_suffix(".npy"), (2e9, 2e9))  # newer than corpus and tokenizer
        assert np.array_equal(script.packed_rows(corpus), packed[-1])
        os.utime(corpus.with_suffix(".npy"), (1e9, 1e9))  # older
    assert not np.array_equal(*packed)


def test_everyone_in_the_cast_is_one_token_in_each_form(script):
    names, relatives = script.cast()
    assert (names.shape, relatives.shape) == ((70, 2), (4, 3))
    assert len({*names.ravel().tolist(), *relatives.ravel().tolist()}) == 70 * 2 + 4 * 3


def test_another_emphasis_is_another_run(script, tmp_path):
    base, story = script.RECIPES["story-base"], script.RECIPES["story"]
    assert script.identity(base, tmp_path) != script.identity(story, tmp_path)
