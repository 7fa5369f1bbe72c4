"""Loading: every matrix is laid out once, and nothing is held twice."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from model_folder import TEXT_CONFIG
from random_models import ArrayTensor, random_checkpoint
from safetensors.numpy import save_file

import minillm
from minillm.backends import get_backend
from minillm.backends.plain import Plain
from minillm.loading.build import build
from minillm.loading.checkpoint import Checkpoint
from minillm.loading.safetensors_file import read_safetensors

WIDE = dataclasses.replace(
    TEXT_CONFIG, vocab_size=1984, hidden_size=128, intermediate_size=512, num_attention_heads=8, head_dim=16
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint in a float32 file, half of whose matrices have a neighbour to be joined with."""
    file = tmp_path_factory.mktemp("wide") / "model.safetensors"
    tensors = {name: t.values.astype(np.float32) for name, t in random_checkpoint(WIDE, 0).tensors.items()}
    save_file(tensors, file)
    return Checkpoint("wide", WIDE, read_safetensors(file), None)


@pytest.mark.parametrize("backend", ["plain", "numpy"])
def test_weights_take_their_memory_once_and_nothing_stays_in_the_file(checkpoint, backend):
    """The embedding and the head are one matrix."""
    once = sum(int(np.prod(tensor.shape)) * 4 for tensor in checkpoint.tensors.values())
    ops = get_backend(backend)
    tracemalloc.start()
    build(checkpoint, ops, np.dtype(np.float32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    parts = 2 * WIDE.intermediate_size * WIDE.hidden_size * 4  # bytes of gate and up, before they are joined
    assert once < peak < 1.05 * once + parts


@pytest.mark.parametrize("inner, out", [(6, 9), (9, 6), (6, 49), (6, 6)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_fast_backend_lays_matrices_along_their_longer_axis(inner, out, order):
    weight = np.asarray(np.random.default_rng(0).normal(size=(inner, out)), order=order)
    prepared = get_backend("numpy").prepare([weight.T])
    assert np.array_equal(prepared, weight)
    assert prepared.flags.c_contiguous if inner <= out else np.shares_memory(prepared, weight)


def test_an_unused_tensor_is_one_warning(checkpoint):
    more = dict(checkpoint.tensors) | {"model.layers.9.extra.weight": ArrayTensor(np.ones(3))}
    with pytest.warns(UserWarning, match=r"^wide: 1 tensor is not used: 'model.layers.9.extra.weight'$"):
        build(dataclasses.replace(checkpoint, tensors=more), get_backend("numpy"), np.dtype(np.float32))


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8", "int4"])
def test_the_repr_says_in_which_format_the_weights_are(checkpoint, weights):
    model = build(checkpoint, get_backend("plain"), np.dtype(np.float32), weights)
    assert repr(model).endswith("float32)" if weights == "float32" else f"float32, weights {weights})")


def test_load_takes_a_backend_of_one_s_own():
    class Doubled(Plain):
        """Multiplies every product by two."""

        def linear(self, x, weight, bias=None):
            return 2 * super().linear(x, weight, bias)

    own, plain = minillm.load("story-draft", backend=Doubled()), minillm.load("story-draft", backend="plain")
    assert isinstance(own.ops, Doubled)
    assert not np.allclose(minillm.forward(own, [5, 6]), minillm.forward(plain, [5, 6]))
