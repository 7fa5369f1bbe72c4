"""A model whose layers stay in the file: the same bits as loaded whole, two layers in memory, each read once a pass."""

import gc
import os
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from time import sleep
from types import SimpleNamespace

import numpy as np
import pytest
from golden_model import TOKENS
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import architectures, make_ops, random_checkpoint, token_lists
from safetensors.numpy import save_file
from tiny_folder import CONFIG, weights, write_folder, write_shards
from tiny_gguf import write_gguf
from unchecked import run_unchecked

import minillm
from minillm.backends import side_by_side, threads
from minillm.backends.exact import Exact
from minillm.loading import open_checkpoint
from minillm.loading.build import build
from minillm.loading.load import load, streamed_bytes, weights_bytes
from minillm.streaming import IN_MEMORY, LayerPass, StreamedLayers

COMPILED = pytest.param("compiled", marks=pytest.mark.compiled)
WIDE = CONFIG | {"hidden_size": 32, "intermediate_size": 64, "vocab_size": 64}  # rows of whole blocks
PROMPT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]


def both(checkpoint, backend, weights="float32", dtype="float32"):
    """The model loaded whole, and streamed."""
    return [
        build(checkpoint, ops, ops.choose_dtype(dtype), weights, streamed=streamed)
        for streamed in (False, True)
        for ops in [make_ops(backend)]
    ]


def assert_same(loaded, streamed, tokens):
    """A naive pass, a prefill in chunks, and a decode step."""
    host = loaded.ops.to_host
    np.testing.assert_array_equal(host(minillm.forward(loaded, tokens)), host(minillm.forward(streamed, tokens)))
    caches = [minillm.KVCache(model, len(tokens) + 1) for model in (loaded, streamed)]
    for step in (tokens[:1], tokens[1:] or tokens[:1]):
        pairs = zip((loaded, streamed), caches, strict=True)
        a, b = [minillm.forward_batch(model, [(step, own)]) for model, own in pairs]
        np.testing.assert_array_equal(host(a), host(b))


@pytest.mark.parametrize("backend", ["plain", "numpy", "exact", "cupy"])
@settings(max_examples=8)
@given(data=st.data(), config=architectures(), seed=st.integers(0, 2**32))
def test_random_models_have_the_bits_of_loaded_ones(backend, data, config, seed):
    """Tied or not, with biases, norms of q and k and windows or without, in every format."""
    checkpoint = random_checkpoint(config, seed)
    loaded, streamed = both(checkpoint, backend, data.draw(st.sampled_from(make_ops(backend).formats)))
    assert_same(loaded, streamed, data.draw(token_lists(config.vocab_size)))


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8", "int4"])
@settings(max_examples=3)
@given(data=st.data(), config=architectures(), seed=st.integers(0, 2**32))
def test_random_models_on_the_compiled_backend(weights, data, config, seed):
    loaded, streamed = both(random_checkpoint(config, seed), "compiled", weights)
    assert_same(loaded, streamed, data.draw(token_lists(config.vocab_size)))


@pytest.mark.parametrize("backend", ["plain", "numpy", "exact", COMPILED])
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
@pytest.mark.parametrize("tied", [True, False])
def test_every_type_of_a_gguf_file(backend, kind, tied, tmp_path):
    config = WIDE | {"tie_word_embeddings": tied}
    write_gguf(tmp_path / "x.gguf", config, weights(config), kind)
    loaded, streamed = (load(tmp_path / "x.gguf", backend, weights="stored", layers=how) for how in HOW)
    assert_same(loaded, streamed, PROMPT)


HOW = ("loaded", "streamed")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("format", ["float32", "stored", "int4"])
def test_safetensors(dtype, format, tmp_path):
    folder = write_folder(tmp_path)
    save_file({name: values.astype(dtype) for name, values in weights().items()}, folder / "model.safetensors")
    loaded, streamed = (load(folder, weights=format, layers=how) for how in HOW)
    assert_same(loaded, streamed, PROMPT)


def test_shards(tmp_path):
    write_shards(tmp_path)
    loaded, streamed = (load(tmp_path, layers=how) for how in HOW)
    assert_same(loaded, streamed, PROMPT)


def test_the_hash_of_the_exact_backend_does_not_change():
    loaded, streamed = (load("story", "exact", layers=how) for how in HOW)
    assert_same(loaded, streamed, TOKENS)


def test_everything_above_the_forward_pass_works_on_a_streamed_model():
    loaded, streamed = (load("story", layers=how) for how in HOW)
    texts = [minillm.generate(model, "Once upon a time", max_new_tokens=5).text for model in (loaded, streamed)]
    drafts = [minillm.skip_layers(model) for model in (loaded, streamed)]
    assert texts[0] == texts[1]
    assert drafts[1].streamed and not drafts[0].streamed
    assert_same(*drafts, TOKENS[:8])
    spoken = [minillm.speculative_generate(streamed, draft, "Once upon", max_new_tokens=6).tokens for draft in drafts]
    assert spoken[0] == spoken[1] == minillm.generate(loaded, "Once upon", max_new_tokens=6).tokens
    engines = [minillm.Engine(model, block_size=4) for model in (loaded, streamed)]
    requests = [[engine.submit(TOKENS[:n], max_new_tokens=4) for n in (3, 9)] for engine in engines]
    for engine in engines:
        engine.run()
    assert [r.tokens for r in requests[0]] == [r.tokens for r in requests[1]]
    assert repr(streamed).endswith("float32, layers streamed)") and "streamed" not in repr(loaded)
    found = [minillm.attention_weights(model, TOKENS[:5], 3) for model in (loaded, streamed)]
    np.testing.assert_array_equal(*found)


class Counted:
    """Layers that count how often each is read, and how many are alive at a time."""

    def __init__(self, layers=6, fails_at=None):
        self.reads, self.alive, self.most, self.fails_at = [], 0, 0, fails_at
        self.layers = StreamedLayers(self.read, range(layers))
        self.lock = threading.RLock()  # a layer may be collected while another is counted

    def read(self, number):
        if number == self.fails_at:
            raise OSError("cannot read")
        with self.lock:
            self.reads.append(number)
            self.alive += 1
            self.most = max(self.most, self.alive)
        return Layer(self, number)


class Layer:
    def __init__(self, counted, number):
        self.counted, self.number = counted, number

    def __del__(self):
        with self.counted.lock:
            self.counted.alive -= 1


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "layer reader"]


def test_two_layers_are_in_memory_and_each_is_read_once():
    counted = Counted()
    for expected, layer in enumerate(counted.layers):
        sleep(0.01)  # the reader could go on
        assert layer.number == expected and counted.alive <= 2
    del layer
    assert counted.reads == list(range(6)) and counted.most <= 3 and counted.alive == 0 and not readers()
    assert [layer.number for layer in counted.layers[2:4]] == [2, 3]
    assert [layer.number for layer in counted.layers.only([0, 3, 5])[1:]] == [3, 5]
    assert [layer.number for layer in counted.layers[1:].only([0, 2, 4]).only([0, 2])] == [1, 5]
    assert counted.layers[4].number == 4 and len(counted.layers[1:]) == 5 and list(counted.layers[3:3]) == []


def test_a_thread_that_gets_its_layer_late_keeps_no_third_one(monkeypatch):
    """A busy machine wakes it late. Until then it has the layer before, which the loop's variable still names."""
    take = LayerPass._take

    def late(layers, place):
        layer = take(layers, place)
        sleep(0.02)
        return layer

    monkeypatch.setattr(LayerPass, "_take", late)
    counted = Counted()
    read = counted.read
    counted.layers.read = lambda number: sleep(0.005) or read(number)  # a layer is not there as soon as it is asked for
    for expected, layer in enumerate(counted.layers):
        assert layer.number == expected
    assert counted.most == 2


@pytest.mark.parametrize(("kept", "calls"), [(0, 6), (10**6, 0)])
def test_freed_memory_is_given_back_before_each_large_layer(kept, calls, monkeypatch):
    """Layers of story have fewer than a million weights."""
    given = []
    monkeypatch.setattr("minillm.loading.build.KEPT", kept)
    monkeypatch.setattr("minillm.loading.build.return_freed_memory", lambda: given.append(1))
    minillm.forward(load("story", layers="streamed"), TOKENS[:3])
    assert len(given) == calls


def test_the_next_layer_is_read_while_one_computes():
    counted = Counted()
    layers = iter(counted.layers)
    next(layers)
    for _ in range(500):
        sleep(0.01)
        if counted.reads == [0, 1]:
            break
    assert counted.reads == [0, 1]


@pytest.mark.parametrize("end", ["break", "raise"])
def test_a_pass_that_breaks_off_leaves_no_thread(end):
    counted = Counted()

    def through():
        for layer in counted.layers:
            if layer.number == 2:
                if end == "break":
                    return
                raise MemoryError("no room")

    try:
        through()
    except MemoryError:
        assert end == "raise"
    gc.collect()
    assert not readers() and counted.alive == 0 and counted.reads[:3] == [0, 1, 2]


def test_a_layer_that_cannot_be_read_is_told_in_its_turn():
    counted = Counted(fails_at=2)
    seen = []
    with pytest.raises(OSError, match="cannot read"):
        for layer in counted.layers:
            seen.append(layer.number)
    assert seen == [0, 1] and not readers()


def test_threads_that_share_a_pass_read_each_layer_once():
    counted = Counted()
    together = counted.layers.one_pass(3)
    barrier = threading.Barrier(3)

    def through(number):
        seen = []
        for layer in together[0:6]:
            barrier.wait(60)  # as attention waits for the keys of all
            sleep(0.002 * number)
            seen.append(layer.number)
        return seen

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(through, range(3))) == [list(range(6))] * 3
    assert counted.reads == list(range(6)) and counted.most <= 3 and not readers()
    with pytest.raises(ValueError, match="go through all of them"):
        together[1:]


def test_a_shared_pass_ends_though_a_thread_never_began():
    counted = Counted()
    together = counted.layers.one_pass(2)
    for layer in together:
        if layer.number == 1:
            break
    del layer
    assert readers()
    together.end()
    assert not readers() and counted.alive == 0


@pytest.fixture(params=[2, 3])
def side_by_side_threads(monkeypatch, request):
    """Every forward pass runs on 2 or 3 threads, however few rows it has."""
    monkeypatch.setattr(side_by_side, "ROWS_EACH", 0)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", str(request.param))
    monkeypatch.setattr(threads, "_waiting_threads", cache(threads._waiting_threads.__wrapped__))


@pytest.mark.parametrize("backend", ["numpy", "exact"])
@pytest.mark.parametrize("tied", [True, False])
def test_side_by_side_each_layer_is_read_once(side_by_side_threads, backend, tied, tmp_path, monkeypatch):
    config = CONFIG | {"num_hidden_layers": 4, "tie_word_embeddings": tied}
    loaded, streamed = (load(write_folder(tmp_path, config), backend, layers=how) for how in HOW)
    reads, read = [], streamed.layer_weights.read
    monkeypatch.setattr(streamed.layer_weights, "read", lambda number: reads.append(number) or read(number))
    tokens = PROMPT * 4
    if backend == "exact":  # on numpy, bits depend on the threads
        np.testing.assert_array_equal(minillm.forward(loaded, tokens), minillm.forward(streamed, tokens))
    else:
        np.testing.assert_allclose(minillm.forward(loaded, tokens), minillm.forward(streamed, tokens), atol=1e-4)
    assert reads == [0, 1, 2, 3] and not readers()
    monkeypatch.setattr(streamed.layer_weights, "read", lambda number: 1 / (number - 2))
    with pytest.raises((ZeroDivisionError, AttributeError)):
        minillm.forward(streamed, tokens)
    assert not readers()


def test_several_generations_on_one_streamed_model(tmp_path):
    loaded, streamed = (load(write_folder(tmp_path), "exact", layers=how) for how in HOW)
    prompts = [PROMPT[:n] for n in range(1, 9)]
    expected = [minillm.forward(loaded, prompt) for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        for found, same in zip(
            pool.map(lambda p: minillm.forward(streamed, p), prompts * 3), expected * 3, strict=True
        ):
            np.testing.assert_array_equal(found, same)
    assert not readers()


@pytest.mark.parametrize("name", ["model.safetensors", "x.gguf"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_file_that_changes_under_a_streamed_model_is_named_in_one_line(name, tied, tmp_path):
    config = CONFIG | {"tie_word_embeddings": tied}
    folder = write_folder(tmp_path, config)
    write_gguf(folder / "x.gguf", config, weights(config))
    file = folder / name
    whole = file.read_bytes()

    def opened():
        model = load(file if name == "x.gguf" else folder, layers="streamed")
        minillm.forward(model, PROMPT)
        return model

    model = opened()
    os.truncate(file, 100)
    with pytest.raises(ValueError, match=rf"^{re.escape(name)}: became shorter while it was read; do not change it"):
        minillm.forward(model, PROMPT)
    file.write_bytes(whole)
    model = opened()
    (folder / "new").write_bytes(whole)
    (folder / "new").rename(file)
    with pytest.raises(ValueError, match=rf"^{re.escape(name)}: changed while it was.* while layers are streamed$"):
        minillm.forward(model, PROMPT)
    model = opened()
    file.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(file))):
        minillm.forward(model, PROMPT)
    assert not readers()


def test_the_program_may_change_its_folder(tmp_path, monkeypatch):
    write_gguf(write_folder(tmp_path / "m") / "x.gguf", CONFIG, weights())
    monkeypatch.chdir(tmp_path)
    models = [load(name, layers="streamed") for name in ("m", "m/x.gguf")]
    monkeypatch.chdir("/")
    for model in models:
        assert minillm.forward(model, PROMPT).shape == (len(PROMPT), CONFIG["vocab_size"])


def test_what_is_wrong_in_a_layer_is_found_when_the_model_is_loaded(tmp_path):
    folder, tensors = write_folder(tmp_path), weights()
    last = "model.layers.1.mlp.down_proj.weight"
    for wrong, line in [
        ({name: values for name, values in tensors.items() if name != last}, f"tensor {last} is missing"),
        (tensors | {last: tensors[last].T.copy()}, rf"tensor {last} has shape \[12, 8\]"),
    ]:
        save_file(wrong, folder / "model.safetensors")
        with pytest.raises(ValueError, match=line):
            load(folder, layers="streamed")
    save_file(tensors | {"model.layers.0.extra": np.zeros(2, np.float32)}, folder / "model.safetensors")
    with pytest.warns(UserWarning, match=r"^[^,]*1 tensor is not used.*extra"):
        load(folder, layers="streamed")


def test_layers_is_loaded_or_streamed():
    with pytest.raises(ValueError, match="layers is 'lazy'; expected one of loaded, streamed"):
        load("story", layers="lazy")


def test_memory_needed_by_layers_of_different_sizes():
    """The two largest: mixtures of formats in GGUF files make layers unequal."""
    sizes = {"model.layers.0.mlp.up_proj.weight": (4, 4), "model.layers.1.mlp.up_proj.weight": (8, 4)}
    sizes |= {"model.layers.2.mlp.up_proj.weight": (2, 4), "lm_head.weight": (1, 4)}
    tensors = {name: SimpleNamespace(shape=shape, format="float32") for name, shape in sizes.items()}
    checkpoint = SimpleNamespace(tensors=tensors, config=SimpleNamespace(tie_word_embeddings=False))
    assert streamed_bytes(checkpoint, Exact(), "float32", "float32") == 8 * (32 + 16 + 4)


def test_a_shared_pass_that_breaks_off_leaves_no_reader():
    model = load("story", layers="streamed")  # more layers than are in memory: the reader waits for the threads
    with model.shared_by(2) as shared:
        next(iter(shared.layers()))
        assert len(model.layer_weights) > IN_MEMORY and readers()
    assert not readers()


def test_memory_needed(tmp_path, monkeypatch):
    """Two layers, the final norm, and the embedding if it is the head; of an untied model, the head alone."""
    for tied in (True, False):
        config = CONFIG | {"num_hidden_layers": 5, "tie_word_embeddings": tied}
        checkpoint = open_checkpoint(write_folder(tmp_path, config))
        sizes = {name: 8 * np.prod(tensor.shape) for name, tensor in checkpoint.tensors.items()}
        layer = sum(size for name, size in sizes.items() if ".layers.0." in name)
        rows = 8 * CONFIG["vocab_size"] * CONFIG["hidden_size"]
        assert streamed_bytes(checkpoint, Exact(), "float32", "float32") == 2 * layer + rows + 8 * CONFIG["hidden_size"]
        assert weights_bytes(checkpoint, Exact(), "float32", "float32") == sum(sizes.values())
        monkeypatch.setattr("minillm.loading.load._memory", lambda: sum(sizes.values()) + (rows if tied else 0) - 1)  # noqa: B023
        with pytest.raises(ValueError, match="not enough memory for its weights"):
            load(tmp_path, "exact")
        monkeypatch.setattr("minillm.loading.load._memory", lambda: sum(sizes.values()))  # noqa: B023
        load(tmp_path, "plain")


def test_ctrl_c_while_a_layer_is_read():
    """It is raised soon, the reader ends, and the model can be used afterwards."""
    model = load("story", layers="streamed")
    expected = minillm.forward(model, TOKENS)
    read = model.layer_weights.read
    reading, interrupted = threading.Event(), threading.Event()

    def slowly(number):
        if number == 3:
            reading.set()
            interrupted.wait(10)
        return read(number)

    model.layer_weights.read = slowly
    main = threading.main_thread().ident

    def interrupt_main():
        reading.wait(10)
        signal.pthread_kill(main, signal.SIGINT)
        interrupted.set()

    interrupt = threading.Thread(target=interrupt_main)
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        minillm.forward(model, TOKENS[:8])
    interrupt.join()
    assert not readers()
    model.layer_weights.read = read
    np.testing.assert_array_equal(minillm.forward(model, TOKENS), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.slow
def test_a_fork_while_another_thread_streams():
    assert run_unchecked("streamed_fork.py") == {"ends": [0, 0, 0, 0, 0]}
