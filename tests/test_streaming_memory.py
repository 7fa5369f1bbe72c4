"""The memory that a streamed model takes, in a process of its own; `resident_streaming.py` says how it is measured."""

import json
import sys

import pytest
from tensors import tensor_shapes
from unchecked import run_unchecked

from minillm.loading.read_config import read_config
from minillm.loading.registry import REGISTRY

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]
BESIDES = 80e6  # bytes: the KV cache, activations, buffers of libraries, freed memory that is kept
THREE_B = {
    "model_type": "llama", "vocab_size": 32_000, "hidden_size": 3072, "intermediate_size": 8192,
    "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 8, "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5, "bos_token_id": None, "eos_token_id": 0, "tie_word_embeddings": False,
}  # fmt: skip


def measured(model, backend, weights, layers, megabytes=0):
    return run_unchecked("resident_streaming.py", str(model), backend, weights, layers, str(megabytes))


def write_sparse_folder(folder, config):
    """A model in bfloat16 whose weights are all 0: holes in the file, which take no disk and are read like others."""
    shapes, end = tensor_shapes(read_config(config)), 0
    header = {}
    for name, shape in shapes.items():
        begin, end = end, end + 2 * int(shape[0]) * (int(shape[1]) if len(shape) == 2 else 1)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("backend", ["plain", "numpy"])
def test_smollm2_takes_its_embedding_and_two_layers(backend):
    if REGISTRY["smollm2"].folder() is None:
        pytest.skip("smollm2 is not on disk")
    embedding, layer = 4 * 49_152 * 576, 4 * 3_540_096
    found = measured("smollm2", backend, "float32", "streamed")
    print({name: f"{value / 1e6:.0f} MB" for name, value in found.items() if name != "tokens"})
    assert found["added"] <= embedding + 2 * layer + BESIDES
    # While it is loaded, the embedding is copied once into the layout of the head, on numpy.
    assert found["peak"] <= (2 if backend == "numpy" else 1) * embedding + 2 * layer + BESIDES
    assert found["tokens"] == measured("smollm2", backend, "float32", "loaded")["tokens"]


def test_a_model_larger_than_the_memory_that_the_process_may_have(tmp_path):
    """Four layers as of a model of 3B, 403 MB each in float32. The limit suffices for two layers, not for four."""
    folder = write_sparse_folder(tmp_path, THREE_B | {"num_hidden_layers": 4, "vocab_size": 1000})
    head, layer = 4 * 1000 * 3072, 4 * 100_669_440
    limit = (head + 2 * layer + layer // 4 + BESIDES) / 1e6
    assert measured(folder, "numpy", "float32", "loaded", limit)["tokens"] == []
    found = measured(folder, "numpy", "float32", "streamed", limit)
    print({name: f"{value / 1e6:.0f} MB" for name, value in found.items() if name != "tokens"})
    assert len(found["tokens"]) == 2
    assert found["peak"] <= head + 2 * layer + BESIDES
