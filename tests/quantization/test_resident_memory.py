"""Memory that a model takes, measured in a process of its own, in every format. `resident.py` says what is measured."""

import sys

import pytest
from unchecked import run_unchecked

from minillm.loading.registry import REGISTRY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
AT_MOST = {"bfloat16": 0.52, "int8": 0.30, "int4": 0.20}  # of float32's


def measured(model, backend, weights):
    return run_unchecked("quantization/resident.py", model, backend, weights)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["plain", "numpy", pytest.param("compiled", marks=pytest.mark.compiled)])
def test_smollm2(backend):
    if REGISTRY["smollm2"].folder() is None:
        pytest.skip("smollm2 is not on disk")
    for weights in ("float32", *AT_MOST):
        if backend == "compiled":  # compiles, and stores the machine code
            measured("story-draft", backend, weights)
    found = {weights: measured("smollm2", backend, weights) for weights in ("float32", *AT_MOST)}
    print({weights: {name: f"{value / 1e6:.0f} MB" for name, value in each.items()} for weights, each in found.items()})
    for weights, most in AT_MOST.items():
        assert found[weights]["added"] <= most * found["float32"]["added"], weights
        # In float32 there are at most 8 MB of the embedding, or one matrix of a layer, 3.5 MB; and copies of its parts.
        assert found[weights]["peak"] <= found[weights]["added"] + 30e6


def test_story_in_four_bits_takes_less_than_in_float32():
    """The matrices of story are 11 MB in float32 and 1.7 in four bits; freed memory of the tokenizer takes some up."""
    in_float32, in_int4 = (measured("story", "plain", weights)["added"] for weights in ("float32", "int4"))
    assert in_int4 < 0.65 * in_float32
