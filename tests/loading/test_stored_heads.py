"""A tied model whose file stores the head too: it is compared with the embedding, and neither is in memory whole."""

import json
import re
from contextlib import nullcontext

import numpy as np
import pytest
from tensors import ArrayTensor
from test_optional_tensors import EMBEDDING, HEAD, save
from tiny_folder import CONFIG, assert_refused, weights

from minillm.loading import stored
from minillm.loading.read_config import read_config
from minillm.loading.settle import settle

TIED = CONFIG | {"tie_word_embeddings": True}


@pytest.mark.parametrize("differs_in", [None, 0, 260])
def test_a_stored_head_is_compared_a_few_rows_at_a_time(differs_in, monkeypatch):
    """At most READ_BYTES of each, and no more after the first difference."""
    read = []

    class Recorded(ArrayTensor):
        def read(self):
            read.append(self.shape[0])
            return super().read()

        def cut(self, rows, columns):
            return Recorded(super().cut(rows, columns).values)

    tensors = {name: Recorded(values) for name, values in weights(TIED).items()}
    head = tensors[EMBEDDING].values.copy()
    if differs_in is not None:
        head[differs_in, -1] += 1
    monkeypatch.setattr(stored, "READ_BYTES", 100 * 4 * head.shape[1])
    with nullcontext() if differs_in is None else pytest.warns(UserWarning, match="differs"):
        config, left = settle(read_config(TIED), tensors | {HEAD: Recorded(head)}, "x")
    assert read == ([100, 100] if differs_in == 0 else [100, 100, 100, 100, 61, 61])
    assert config.tie_word_embeddings == (HEAD not in left) == (differs_in is None)


def test_a_head_that_repeats_damaged_numbers_is_still_the_embedding():
    """The NaN is told where it matters, by the logits; that the two differ would be wrong."""
    tensors = {name: ArrayTensor(values) for name, values in weights(TIED).items()}
    damaged = tensors[EMBEDDING].values.copy()
    damaged[3, 0] = np.nan
    config, left = settle(
        read_config(TIED), tensors | {name: ArrayTensor(damaged.copy()) for name in (EMBEDDING, HEAD)}, "x"
    )
    assert config.tie_word_embeddings and HEAD not in left


@pytest.mark.parametrize("shape", [(2**61, 0), (0, 8), (8,), (), (2, 3, 4)])
def test_a_head_that_cannot_be_one_is_refused_by_the_shape_of_the_embedding(shape, tmp_path):
    """Nothing is compared: an empty matrix may have any number of rows."""
    parts = np.zeros(0 if 0 in shape else shape, np.float32)
    folder = save(tmp_path, TIED, weights(TIED) | {EMBEDDING: parts, HEAD: parts.copy()})
    with (folder / "model.safetensors").open("rb") as file:
        text, data = file.read(int.from_bytes(file.read(8), "little")), file.read()
    header = json.loads(text)
    header[EMBEDDING]["shape"] = header[HEAD]["shape"] = list(shape)
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    assert_refused(folder, rf"tensor {EMBEDDING} has shape {re.escape(str(list(shape)))}; the config requires")
