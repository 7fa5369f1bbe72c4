"""llama.cpp loads the files that `minillm quantize` writes, and predicts what minillm predicts from them.

It needs llama-cpp-python (extra `bench`), which other oracles do not: without it these tests are skipped.
"""

import ctypes

import numpy as np
import pytest

import minillm
from minillm.loading import open_checkpoint
from minillm.loading.gguf.write import TYPES, write_gguf
from minillm.loading.registry import REGISTRY

llama_cpp = pytest.importorskip("llama_cpp")
PROMPT = "Once upon a time there was a cat who lived by the sea. One day, 3 dogs came to the house and asked:"
MODELS = ["story", *(["smollm2"] if REGISTRY["smollm2"].folder() else [])]
# The root of the mean squared difference of logits over their spread, three times what was found or less. llama.cpp
# computes parts of attention in float16; it rounds activations to bfloat16 for BF16, and to 8 bits for Q8_0 and Q4_1.
# Swapped halves of a byte or a forgotten minimum give 0.5 and more.
LARGEST = {"float32": 0.0015, "bfloat16": 0.02, "int8": 0.08, "int4": 0.08}


def their_logits(path, tokens):
    """llama.cpp's logits after each token, `[tokens, vocab]`, on one thread."""
    parameters = llama_cpp.llama_model_default_params()
    parameters.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    assert model, "llama.cpp cannot load the file"
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = 512
    settings.n_threads = settings.n_threads_batch = 1
    settings.type_k = settings.type_v = llama_cpp.GGML_TYPE_F32
    context, size = llama_cpp.llama_init_from_model(model, settings), None
    size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for row, token in enumerate(tokens):
        batch.token[row], batch.pos[row], batch.n_seq_id[row], batch.seq_id[row][0] = token, row, 1, 0
        batch.logits[row] = 1
    assert llama_cpp.llama_decode(context, batch) == 0
    rows = [np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, row), (size,)).copy()
            for row in range(len(tokens))]  # fmt: skip
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return np.array(rows)


def their_tokens(path, text):
    """llama.cpp's tokens of a text, without a BOS."""
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    vocab, data, room = llama_cpp.llama_model_get_vocab(model), text.encode(), 512
    ids = (ctypes.c_int32 * room)()
    count = llama_cpp.llama_tokenize(vocab, data, len(data), ids, room, False, False)
    llama_cpp.llama_model_free(model)
    return list(ids[:count])


@pytest.fixture(scope="module", autouse=True)
def backend():
    silent = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    yield silent  # the C library calls it as long as tests run


@pytest.mark.parametrize("weights", TYPES)
@pytest.mark.parametrize("name", MODELS)
def test_logits_and_tokens_are_ours(tmp_path, name, weights):
    path = tmp_path / "model.gguf"
    write_gguf(open_checkpoint(name), path, weights)
    model = minillm.load(path, weights="stored")
    tokens = model.tokenizer.encode(PROMPT)
    assert their_tokens(path, PROMPT) == tokens
    ours, theirs = minillm.forward(model, tokens), their_logits(path, tokens)
    difference = float(np.sqrt(np.mean((ours - theirs) ** 2)) / ours.std())
    print(f"{name} {weights}: difference {difference:.2e} of the logits' spread")
    assert difference < LARGEST[weights]
