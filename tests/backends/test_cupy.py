"""The `cupy` backend on a stand-in for a device: what moves, how often it launches, and that mistakes are caught.

That it computes what the others compute is shown by the properties, which run on it as on every backend.
"""

import dataclasses
import sys
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from fake_device import FakeDevice
from golden_model import CONFIG
from random_models import random_checkpoint, random_model

import minillm
from minillm.backends.cupy import CuPy
from minillm.backends.cupy_batch import FEW_ROWS
from minillm.backends.cupy_device import CuPyDevice
from minillm.backends.plain import Plain
from minillm.loading.build import build
from minillm.loading.load import load
from minillm.speculative.generation import SpeculativeGeneration

PROMPT = [5, 1, 4, 1, 5, 9, 2, 6]
LAYERS = 4
# As smollm2, story and most models are: no biases, no norms of q and k.
ORDINARY = dataclasses.replace(
    CONFIG, num_hidden_layers=LAYERS, attention_bias=False, attention_output_bias=False, mlp_bias=False, qk_norm=False,
    tie_word_embeddings=True, sliding_windows=(None, 3, None, 20),
)  # fmt: skip
LAYER = {"rms_norm": 2, "rope": 1, "attention": 1, "swiglu": 1}  # and four products
ONCE = {"cos_sin": 1, "embed": 1, "getitem": 1, "rms_norm": 1}  # and the head


def fake(config=ORDINARY, dtype="float64", stored=None, seed=0):
    ops = CuPy(FakeDevice())
    kept_as = ops.choose_dtype(stored or dtype)
    ops.cos_sin(np.arange(1), config.rope, config.head_dim)  # sends the frequencies, once for each kind of model
    return build(random_checkpoint(config, seed), ops, kept_as)


@contextmanager
def watched(model):
    """What moves and is launched inside the block."""
    device = model.ops.device
    device.launches.clear()
    device.sent = device.fetched = 0
    yield device


def pass_of(products, layers=LAYERS):
    """The launches of a forward pass in which all products are of one kind, and the head one of its own."""
    expected = {name: layers * count + ONCE.get(name, 0) for name, count in LAYER.items()}
    expected |= {name: count for name, count in ONCE.items() if name not in LAYER}
    expected[products] = 4 * layers
    return expected


def add(counts, name, more=1):
    return counts | {name: counts.get(name, 0) + more}


@pytest.mark.parametrize("stored", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("config", [ORDINARY, dataclasses.replace(CONFIG, num_hidden_layers=LAYERS, qk_norm=True,
                                                                  sliding_windows=(None,) * LAYERS)])  # fmt: skip
def test_a_layer_is_nine_launches_and_a_token_two_copies(config, stored):
    """With biases and norms of q and k as without."""
    model = fake(config, stored)
    cache = minillm.KVCache(model, 50)
    minillm.prefill(model, PROMPT, cache)
    with watched(model) as device:
        model.ops.to_host(minillm.decode_step(model, 7, cache))
    assert device.launches == add(pass_of("one_row"), "one_row")
    assert device.launches.total() == 9 * LAYERS + 5
    assert (device.sent, device.fetched) == (1, 1)


def test_a_repeated_decode_step_is_one_graph():
    model, plain = fake(), random_model(ORDINARY, 0, "plain")[0]
    caches = [minillm.KVCache(each, 50) for each in (model, plain)]
    for token in (*PROMPT, *PROMPT):
        with watched(model) as device:
            found = model.ops.to_host(minillm.decode_step(model, token, caches[0]))
        expected = minillm.decode_step(plain, token, caches[1])
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        assert (device.sent, device.fetched) == (1, 1)
    assert device.launches == {"graph": 1, "copy": 1}


def test_logits_outlive_the_next_replay():
    model = fake()
    cache = minillm.KVCache(model, 50)
    rows = [minillm.decode_step(model, token, cache) for token in PROMPT]
    np.testing.assert_allclose(
        np.stack([model.ops.to_host(row) for row in rows]), model.ops.to_host(minillm.forward(model, PROMPT)), atol=1e-9
    )


@pytest.mark.parametrize("problem", [RuntimeError("cannot capture"), MemoryError("out of memory")])
def test_what_cannot_be_captured_is_launched_and_a_warning_says_so(problem):
    class Stream(nullcontext):
        synchronize = end_capture = staticmethod(lambda: None)

        @staticmethod
        def begin_capture():
            raise problem

    cuda = SimpleNamespace(MemoryPool=lambda: SimpleNamespace(malloc=None), get_current_stream=Stream,
                           Stream=lambda non_blocking: Stream(), using_allocator=nullcontext)  # fmt: skip
    device = CuPyDevice.__new__(CuPyDevice)  # without looking for one
    device.cupy, compute = SimpleNamespace(cuda=cuda), object
    with pytest.warns(UserWarning, match=f"launched kernel by kernel: {problem}"):
        assert device.capture(compute) is compute


def test_a_shape_that_was_dropped_is_launched_again(monkeypatch):
    """The graphs of its time read a message that nobody writes any more."""
    monkeypatch.setattr("minillm.backends.cupy.STEPS_KEPT", 2)
    config = dataclasses.replace(ORDINARY, num_hidden_layers=1, sliding_windows=(None,))
    model, plain = fake(config), random_model(config, 0, "plain")[0]
    for place, length in enumerate((1, 1, 2, 3, 4, 1)):  # the second of a shape is captured, others push it out
        tokens = PROMPT[place : place + length]
        found, expected = (minillm.prefill(each, tokens, minillm.KVCache(each, 50)) for each in (model, plain))
        np.testing.assert_allclose(model.ops.to_host(found), expected, rtol=1e-9, atol=1e-9)


def test_no_model_replays_what_another_launched():
    """Not one that shares its layers, nor one that came to lie where another was that nobody needs any more."""
    model, found, expected = fake(), [], []
    for number in range(LAYERS):
        for each, rows in ((model, found), (random_model(ORDINARY, 0, "plain")[0], expected)):
            draft = minillm.skip_layers(each, [number])
            other = dataclasses.replace(draft, final_norm=draft.final_norm * 2)
            for one in (draft, other):
                cache = minillm.KVCache(one, 50)
                rows += [one.ops.to_host(minillm.decode_step(one, token, cache)) for token in PROMPT[:3]]
            del draft, other, one
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_prefill_copies_once_each_way_at_any_length():
    model = fake()
    prompt = PROMPT * 5
    assert len(prompt) > FEW_ROWS
    with watched(model) as device:
        model.ops.to_host(minillm.prefill(model, prompt, minillm.KVCache(model, 50)))
    expected = add(pass_of("gemm"), "one_row")
    expected["attention_in_tiles"] = expected.pop("attention")
    assert device.launches == expected
    assert (device.sent, device.fetched) == (1, 1)


@pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 8])
@pytest.mark.parametrize("biased", [True, False])
def test_products_are_those_of_the_plain_backend(rows, biased):
    """Our own kernels multiply a few rows, cuBLAS more."""
    rng, ops, plain = np.random.default_rng(0), CuPy(FakeDevice()), Plain()
    ops.choose_dtype("float64")
    x, residual, weight, bias = (rng.normal(size=size) for size in ((rows, 6), (rows, 10), (6, 10), 10))
    there = [ops.array(x), ops.prepare([ops.array(weight.T.copy())]), ops.array(bias) if biased else None]
    here = [x, weight, bias if biased else None]
    np.testing.assert_allclose(ops.to_host(ops.linear(*there)), plain.linear(*here), rtol=1e-9, atol=1e-9)
    found = ops.add_linear(ops.array(residual), *there)
    np.testing.assert_allclose(ops.to_host(found), plain.add_linear(residual, *here), rtol=1e-9, atol=1e-9)


def test_an_engine_step_of_prompts_and_decodes_copies_once_each_way():
    model = fake()
    engine = minillm.Engine(model, block_size=4, num_blocks=60)
    engine.submit(PROMPT, 10)
    engine.step()
    engine.submit(PROMPT[:5], 10)
    with watched(model) as device:
        assert len(engine.step()) == 2
    assert device.launches == add(pass_of("few_rows"), "few_rows")
    assert (device.sent, device.fetched) == (1, 1)
    engine.step()
    engine.step()
    with watched(model) as device:
        engine.step()
    assert device.launches == {"graph": 1, "copy": 1}
    assert (device.sent, device.fetched) == (1, 1)


def test_a_speculative_round_copies_once_each_way_for_each_pass():
    """Three guesses of a draft are three passes, and verification is one."""
    model = fake()
    draft = minillm.skip_layers(model)
    request = SpeculativeGeneration(model, draft, PROMPT, 30, minillm.Sampling(ignore_eos=True), 3)
    steps = iter(request)
    next(steps)
    with watched(model) as device:
        request._next_steps()
    assert (device.sent, device.fetched) == (4, 4)
    layers = 3 * draft.config.num_hidden_layers + LAYERS
    # One draft pass has the shape of the one before: it is launched, captured, and replayed with a copy of the logits.
    assert device.launches["graph"] == device.launches["copy"] == 1
    assert device.launches.total() == 9 * layers + 4 * 5 + 2


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("own_draft", [True, False])
def test_speculative_text_is_the_naive_text(own_draft, k):
    model = fake()
    draft = minillm.skip_layers(model) if own_draft else fake(dataclasses.replace(ORDINARY, hidden_size=24), seed=1)
    out = minillm.speculative_generate(model, draft, PROMPT, 20, minillm.Sampling(ignore_eos=True), k)
    assert out.tokens == minillm.naive_decode(model, PROMPT, 20)


@pytest.mark.parametrize("stored, tolerance", [("float16", 2e-3), ("bfloat16", 2e-2)])
def test_weights_of_half_the_size(stored, tolerance):
    """They are rounded, and nothing else is: the same model with rounded weights gives the same in float32."""
    model, plain = fake(stored=stored), random_model(ORDINARY, 0, "plain", "float32")[0]
    assert (model.head.nbytes, model.dtype) == (plain.head.nbytes // 2, np.float32)
    found, expected = model.ops.to_host(minillm.forward(model, PROMPT)), minillm.forward(plain, PROMPT)
    scale = np.abs(expected).max()
    assert 1e-6 < np.abs(found - expected).max() / scale < tolerance


def test_a_full_device_says_so_and_leaves_the_engine_usable():
    model = fake()
    cache = minillm.KVCache(model, 50)
    before = model.ops.to_host(minillm.prefill(model, PROMPT, cache))
    model.ops.device.memory = 1000
    with pytest.raises(ValueError, match=r"^capacity is 10000: not enough memory: 30\.7 MB needed, 0\.0 MB free; "):
        minillm.KVCache(model, 10_000)
    with pytest.raises(
        ValueError, match=r"^not enough memory on the device: 0\.0 MB needed, 0\.0 MB free; use a smaller"
    ):
        minillm.decode_step(model, 3, cache)
    assert cache.length == len(PROMPT)
    model.ops.device.memory = 2**40
    cache.truncate(len(PROMPT) - 1)
    np.testing.assert_allclose(model.ops.to_host(minillm.decode_step(model, PROMPT[-1], cache)), before, atol=1e-9)


@pytest.mark.parametrize("dtype, itemsize", [("float32", 4), ("bfloat16", 2)])
def test_weights_must_fit_into_the_device_not_the_host(monkeypatch, dtype, itemsize):
    device = FakeDevice()
    monkeypatch.setattr("minillm.loading.load.get_backend", lambda name: CuPy(device))
    weights = 2_755_008 * itemsize  # of story, bytes
    monkeypatch.setattr("minillm.loading.load._memory", lambda: 0)
    device.memory = weights
    assert load("story", "cupy", dtype).head.itemsize == itemsize
    device.memory = weights - 1
    expected = rf"^story: not enough memory for its weights: 0\.0 GB needed as {dtype}, 0\.0 GB free; use a smaller"
    with pytest.raises(ValueError, match=expected):
        load("story", "cupy", dtype)


def test_an_engine_goes_on_after_a_full_device():
    model = fake()
    engine = minillm.Engine(model, block_size=4, num_blocks=60)
    request = engine.submit(PROMPT, 6, minillm.Sampling(ignore_eos=True))
    engine.step()
    model.ops.device.memory = 100
    with pytest.raises(MemoryError):
        engine.step()
    model.ops.device.memory = 2**40
    engine.run()
    assert request.tokens == minillm.naive_decode(model, PROMPT, 6)


def test_heads_that_are_too_large_are_refused():
    config = dataclasses.replace(ORDINARY, head_dim=258, num_attention_heads=1, num_key_value_heads=1)
    with pytest.raises(ValueError, match=r"^head_dim is 258; the cupy backend supports at most 256$"):
        minillm.forward(fake(config), PROMPT)


def test_without_cupy_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(OSError, match=r"^backend cupy needs CuPy, .*: pip install -e \".*\[gpu\]\"$"):
        load("story", backend="cupy")


# Mistakes that CuPy would punish on a GPU, or pass over in silence. Each must be caught here.


def implicit_transfer(ops, x, h, weight, bias):
    return ops.array(np.asarray(x) + 1)


def mixed_with_the_host(ops, x, h, weight, bias):
    return x + np.ones(x.shape)


def host_index(ops, x, h, weight, bias):
    return x[np.arange(len(x))]


def a_function_that_cupy_lacks(ops, x, h, weight, bias):
    return x + np.vecmat(x, x)


def a_wait_for_the_device(ops, x, h, weight, bias):
    return x * 2 if float(x[0, 0]) > 0 else x


@pytest.mark.parametrize(
    "mistake",
    [implicit_transfer, mixed_with_the_host, host_index, a_function_that_cupy_lacks, a_wait_for_the_device],
)
def test_a_mistake_in_a_layer_is_refused(monkeypatch, mistake):
    monkeypatch.setattr(CuPy, "add_linear", lambda ops, x, h, weight, bias: mistake(ops, x, h, weight, bias))
    with pytest.raises((TypeError, AssertionError)):
        minillm.forward(fake(), PROMPT)


def test_a_copy_in_a_layer_is_counted(monkeypatch):
    """Moved over openly: nothing refuses that, but the counts above do."""
    original = CuPy.swiglu
    monkeypatch.setattr(CuPy, "swiglu", lambda ops, gate, up: ops.array(ops.to_host(original(ops, gate, up))))
    model = fake()
    with watched(model) as device:
        model.ops.to_host(minillm.prefill(model, PROMPT, minillm.KVCache(model, 50)))
    assert (device.sent, device.fetched) == (1 + LAYERS, 1 + LAYERS)


def test_a_copy_inside_a_graph_is_refused(monkeypatch):
    original = CuPy.swiglu
    model = fake()
    cache = minillm.KVCache(model, 50)
    minillm.decode_step(model, 1, cache)
    monkeypatch.setattr(CuPy, "swiglu", lambda ops, gate, up: ops.array(ops.to_host(original(ops, gate, up))))
    with pytest.raises(AssertionError, match="while a graph is captured"):
        minillm.decode_step(model, 1, cache)
