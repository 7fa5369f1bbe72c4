"""All layers in one call give the bits of the methods one after another, for every option of an architecture."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("numba")

import test_checks
from random_models import random_checkpoint, random_model

import minillm
from minillm.backends.compiled.backend import Compiled
from minillm.backends.plain import Plain
from minillm.config import RopeParameters
from minillm.loading.build import build
from minillm.loading.load import build_in_memory
from minillm.quantization import quantize

CONFIG = dataclasses.replace(
    test_checks.CONFIG, vocab_size=37, hidden_size=20, intermediate_size=33, num_attention_heads=6, head_dim=6,
    max_position_embeddings=300, rope=RopeParameters(100.0),
)  # fmt: skip
OPTIONS = {
    "plain": {},
    "biases": {"attention_bias": True, "attention_output_bias": True, "mlp_bias": True},
    "qk_norm": {"qk_norm": True},
    "windows": {"sliding_windows": (70, None)},
    "untied": {"tie_word_embeddings": False},
    "one layer": {"num_hidden_layers": 1, "sliding_windows": (5,)},
    "large heads": {"head_dim": 256, "num_attention_heads": 2, "num_key_value_heads": 1},
    "all": {
        "attention_bias": True,
        "attention_output_bias": True,
        "mlp_bias": True,
        "qk_norm": True,
        "sliding_windows": (3, 80),
        "tie_word_embeddings": False,
    },
}


class ByMethods(Compiled):
    """A class derived from it goes through the methods, so that those it overrides are called."""


def tokens_of(n, seed=0):
    return [int(t) for t in np.random.default_rng(seed).integers(0, CONFIG.vocab_size, n)]


def ragged_logits(model):
    """Prompts, chunks and decode steps in one batch, over contiguous, paged and int8 caches."""
    pool = minillm.BlockPool(model, 40, 5)
    caches = [minillm.KVCache(model, 200), minillm.PagedKVCache(pool), minillm.KVCache(model, 200, "int8")]
    prompts = [tokens_of(150, 1), tokens_of(70, 2), tokens_of(9, 3)]  # more rows than an item of a product
    rows = [minillm.forward_batch(model, list(zip(prompts, caches, strict=True)), [len(p) for p in prompts])]
    for step in range(2):
        rows.append(
            minillm.forward_batch(model, [(tokens_of(n + 1, step), c) for n, c in enumerate(caches)], [1, 2, 3])
        )
    return np.concatenate(rows)


def two_models(config, weights="float32", dtype="float32"):
    """The same weights, once in one call for all layers, and once method by method."""
    checkpoint = random_checkpoint(config, 3)
    return [build(checkpoint, ops, ops.choose_dtype(dtype), weights) for ops in (Compiled(), ByMethods())]


def test_heads_that_are_too_large_are_refused_before_weights_are_read():
    checkpoint, ops = random_checkpoint(dataclasses.replace(CONFIG, head_dim=258), 3), Compiled()
    with pytest.raises(
        ValueError, match=r"^head_dim is 258; the compiled backend takes at most 256; use another backend"
    ):
        build_in_memory(dataclasses.replace(checkpoint, tensors={}), ops, ops.choose_dtype("float32"))


@pytest.mark.parametrize("option", OPTIONS)
def test_one_call_has_the_bits_of_the_methods(option):
    together, by_methods = two_models(dataclasses.replace(CONFIG, **OPTIONS[option]))
    expected = ragged_logits(by_methods)
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(ragged_logits(together), expected)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["bfloat16", "int8", "int4"])
@pytest.mark.parametrize("option", ["windows", "all"])
def test_one_call_has_the_bits_of_the_methods_in_every_format(option, weights):
    together, by_methods = two_models(dataclasses.replace(CONFIG, **OPTIONS[option]), weights)
    np.testing.assert_array_equal(ragged_logits(together), ragged_logits(by_methods))


@pytest.mark.slow
def test_float64():
    config = dataclasses.replace(CONFIG, **OPTIONS["all"])
    together, by_methods = two_models(config, dtype="float64")
    logits = ragged_logits(together)
    assert logits.dtype == np.float64
    np.testing.assert_array_equal(logits, ragged_logits(by_methods))
    plain = random_model(config, 3, "plain")[0]
    np.testing.assert_allclose(minillm.forward(together, tokens_of(100)), minillm.forward(plain, tokens_of(100)), 1e-9)


def test_methods_that_are_overridden_are_called():
    class Loud(Compiled):
        def swiglu(self, gate, up):
            return 2 * super().swiglu(gate, up)

    checkpoint, tokens = random_checkpoint(CONFIG, 3), tokens_of(5)
    usual, loud = (
        minillm.forward(build(checkpoint, ops, ops.choose_dtype("float32"), "float32"), tokens)
        for ops in (Compiled(), Loud())
    )
    assert not np.allclose(usual, loud)


def test_layers_may_be_run_in_several_calls(monkeypatch):
    """So that Ctrl-C is heard between them."""
    model = two_models(dataclasses.replace(CONFIG, num_hidden_layers=5, sliding_windows=(3,) * 5))[0]
    expected = ragged_logits(model)
    for most in (1, 2 * 229 * 4000):
        monkeypatch.setattr("minillm.backends.compiled.backend.MOST_WORK", most)
        np.testing.assert_array_equal(ragged_logits(model), expected)


@pytest.mark.slow
def test_a_matrix_of_several_formats_has_the_bits_of_its_parts():
    """q in 4 bits and v in 8: such a layer goes through the methods."""
    rng, ops = np.random.default_rng(0), Compiled()
    ops.choose_dtype("float32")
    parts = [quantize(rng.standard_normal((n, 64)).astype(np.float32), w) for n, w in ((40, "int4"), (24, "int8"))]
    x = rng.standard_normal((7, 64)).astype(np.float32)
    alone = [ops.linear(x, ops.prepare([part])) for part in parts]
    np.testing.assert_array_equal(ops.linear(x, ops.prepare(parts)), np.concatenate(alone, axis=1))


def test_every_method_equals_its_twin():
    rng, ops, plain = np.random.default_rng(0), Compiled(), Plain()
    ops.choose_dtype("float32")
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    x, matrix, table = draw(5, 36), draw(40, 36), draw(37, 36)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # noqa: E731
    close(ops.linear(x, ops.prepare([matrix]), x[0, :1].repeat(40)), plain.linear(x, matrix.T, x[0, :1].repeat(40)))
    residual = draw(5, 40)
    close(ops.add_linear(residual.copy(), x, ops.prepare([matrix])), plain.add_linear(residual, x, matrix.T))
    np.testing.assert_array_equal(ops.embed(ops.prepare_embedding(table), np.array([36, 0, 5])), table[[36, 0, 5]])
    close(ops.rms_norm(x, x[0], 1e-5), plain.rms_norm(x, x[0], 1e-5))
    close(ops.swiglu(x, residual[:, :36]), plain.swiglu(x, residual[:, :36]))
    heads, cos_sin = draw(5, 3, 40), plain.cos_sin(np.arange(100, 105), RopeParameters(100.0), 40)
    cos_sin = tuple(angles.astype(np.float32) for angles in cos_sin)
    close(ops.rope(heads, cos_sin), plain.rope(heads, cos_sin))
    weight = draw(3, 40)
    close(ops.norm_rope(heads, weight, 1e-5, cos_sin), plain.norm_rope(heads, weight, 1e-5, cos_sin))
    segments = [(draw(1, n, 40), draw(1, n, 40)) for n in (60, 20)]
    close(ops.attend(heads, segments, 75, 30), plain.attend(heads, segments, 75, 30))


def test_an_object_computes_in_one_dtype_and_refuses_another_in_one_line():
    """A draft model may share it."""
    ops = Compiled()
    first, _ = (minillm.load("story-draft", ops) for _ in range(2))
    logits = minillm.forward(first, [5, 6])
    with pytest.raises(ValueError, match="dtype is 'float64'; this backend object computes in float32; use another: "):
        minillm.load("story-draft", ops, "float64")
    assert np.array_equal(minillm.forward(first, [5, 6]), logits)
    assert minillm.load("story-draft", "compiled", "float64").dtype == np.float64
