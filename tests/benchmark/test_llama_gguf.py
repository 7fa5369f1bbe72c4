"""The GGUF written for llama.cpp holds our weights to the bit, in the order that llama.cpp wants."""

import dataclasses

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_models import random_checkpoint
from test_checks import CONFIG

from minillm.benchmark.llama_gguf import permute, write_llama_gguf
from minillm.config import RopeParameters
from minillm.loading import open_checkpoint
from minillm.loading.gguf.tensor import unpermute


@given(heads=st.integers(1, 4), half=st.integers(1, 5), dim=st.integers(1, 3))
def test_permute_undoes_unpermute(heads, half, dim):
    rows = np.arange(heads * 2 * half * dim).reshape(-1, dim)
    assert np.array_equal(permute(unpermute(rows, heads), heads), rows)


def test_pairs_lie_side_by_side():
    """Two heads of four rows: (0, 2), (1, 3) are pairs in Hugging Face's order."""
    assert permute(np.arange(8), 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("tied", [True, False])
def test_what_is_written_is_read_back(tmp_path, tied):
    unusual = {"rope": RopeParameters(rope_theta=5000.0), "rms_norm_eps": 1e-6}
    config = dataclasses.replace(CONFIG, tie_word_embeddings=tied, **unusual)
    checkpoint = random_checkpoint(config, 7)
    write_llama_gguf(checkpoint, tmp_path / "model.gguf")
    read = open_checkpoint(tmp_path / "model.gguf")
    expected = dataclasses.replace(config, eos_token_ids=(), rms_norm_eps=float(np.float32(config.rms_norm_eps)))
    assert read.config == expected
    assert read.tensors.keys() == checkpoint.tensors.keys()
    for name, tensor in checkpoint.tensors.items():
        assert np.array_equal(read.tensors[name].read(), tensor.read().astype(np.float32)), name


def test_the_file_is_float32_and_names_no_vocabulary(tmp_path):
    write_llama_gguf(random_checkpoint(CONFIG, 7), tmp_path / "model.gguf")
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    assert {tensor.tensor_type for tensor in reader.tensors} == {gguf.GGMLQuantizationType.F32}
    assert reader.fields["tokenizer.ggml.model"].contents() == "no_vocab"


@pytest.mark.parametrize(
    "change",
    [
        {"qk_norm": True},
        {"attention_bias": True},
        {"attention_output_bias": True},
        {"mlp_bias": True},
        {"sliding_windows": (None, 4)},
        {"rope": RopeParameters(rope_type="linear", factor=2.0)},
        {"rope": RopeParameters(frequency_factors=(1.0, 2.0))},
    ],
)
def test_what_is_no_plain_llama_is_refused(tmp_path, change):
    checkpoint = random_checkpoint(dataclasses.replace(CONFIG, **change), 7)
    with pytest.raises(ValueError, match="only a plain Llama model can be measured against"):
        write_llama_gguf(checkpoint, tmp_path / "model.gguf")
