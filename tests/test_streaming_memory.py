"""The memory that a streamed model takes, in a process of its own; `scripts/measure_streaming_memory.py` measures it.

The models are random: one with the shapes of smollm2, and four layers with those of a model of 3B.
"""

import sys
import tracemalloc

import pytest
from measure_streaming_memory import BESIDES, THREE_B, bound, generate, in_a_process, shapes, write_folder
from tensors import tensor_shapes

from minillm.loading import open_checkpoint
from minillm.loading.gguf.write import write_gguf
from minillm.loading.load import load
from minillm.loading.read_config import read_config

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]
BACKENDS = ["plain", "numpy", "exact", pytest.param("compiled", marks=pytest.mark.compiled)]
SMOLLM2 = THREE_B | {
    "vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64,
}  # fmt: skip
SMALL = SMOLLM2 | {
    "vocab_size": 1000, "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
}  # fmt: skip
HEAD, LAYER = 49_152 * 576, 3_540_096  # weights of smollm2


@pytest.fixture(scope="module")
def like_smollm2(tmp_path_factory):
    """A folder in bfloat16, and in it a GGUF file in int8."""
    folder = write_folder(tmp_path_factory.mktemp("like_smollm2"), SMOLLM2, 1_000_003)
    write_gguf(open_checkpoint(folder), folder / "int8.gguf", "int8")
    return folder


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("weights", ["float32", "stored"])
def test_the_head_and_two_layers_are_in_memory(backend, weights, like_smollm2):
    model = like_smollm2 if weights == "float32" else like_smollm2 / "int8.gguf"
    each = 8 if backend == "exact" else 4 if weights == "float32" else 1 + 2 / 32
    assert bound(model, backend, weights) == pytest.approx(
        each * (HEAD + 2 * LAYER) + BESIDES, abs=3e6
    )  # cache, activations
    streamed, loaded = (in_a_process(model, backend, weights, layers) for layers in ("streamed", "loaded"))
    print({name: f"{value / 1e6:.0f} MB" for name, value in streamed.items() if name in ("peak", "added")})
    assert streamed["peak"] <= bound(model, backend, weights)
    assert loaded["peak"] >= each * (HEAD + 30 * LAYER)
    assert streamed["tokens"] == loaded["tokens"] and len(streamed["tokens"]) == 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tokens", [100, 512, 700])
def test_the_bound_counts_the_activations_of_a_chunk(backend, tokens, tmp_path):
    """NumPy tells tracemalloc of every array. What is freed is not counted, so of the 80 MB the copies are needed.

    While a thread lays out a matrix, it is there in several copies: as it is read, as it is rounded, and as it is kept.
    """
    folder = write_folder(tmp_path, SMALL, 10_007)
    expected = bound(folder, backend, "float32", tokens) - BESIDES
    streamed = load(folder, backend, layers="streamed")
    generate(streamed, tokens)
    copies = while_reading(streamed)
    down = SMALL["intermediate_size"] * SMALL["hidden_size"] * 8  # rarely, 0.6 MB more; a third layer is 2 MB
    peak = traced_peak(lambda: generate(load(folder, backend, layers="streamed"), tokens))
    assert 0.6 * expected < peak <= expected + copies + down


def while_reading(streamed):
    """Return the bytes that reading one layer takes at most, beyond those of the layer."""
    tracemalloc.start()
    layer = streamed.layer_weights[0]
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del layer
    return peak - kept


def traced_peak(call):
    """Return the most bytes that were allocated at a time during a call."""
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_larger_than_the_memory_that_the_process_may_have(tied, tmp_path):
    """Four layers of 403 MB each in float32. The limit suffices for two layers, not for four."""
    config = THREE_B | {"num_hidden_layers": 4, "vocab_size": 10_000, "tie_word_embeddings": tied}
    folder = write_folder(tmp_path, config, 1_000_003)
    limit = 4 * (10_000 * 3072 + 2 * 100_669_440) + BESIDES
    assert bound(folder, "numpy", "float32") == pytest.approx(limit, abs=3e6)
    assert in_a_process(folder, "numpy", "float32", "loaded", limit=limit)["tokens"] == []
    found = in_a_process(folder, "numpy", "float32", "streamed", limit=limit)
    print({name: f"{found[name] / 1e6:.0f} MB" for name in ("peak", "added")})
    assert len(found["tokens"]) == 2 and found["peak"] <= limit


@pytest.mark.parametrize("tied", [True, False])
def test_the_script_writes_the_tensors_of_a_model(tied):
    config = read_config(SMOLLM2 | {"tie_word_embeddings": tied})
    assert dict(shapes(config)) == tensor_shapes(config)
