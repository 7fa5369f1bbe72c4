"""A trace of the compiled backend: its matrices are tiles, and its layers run in one call."""

import numpy as np
import pytest
from random_models import random_model
from test_checks import CONFIG

import minillm
from minillm.trace import load, record
from minillm.trace.attention import unpacked

pytest.importorskip("numba")


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_a_run_is_recorded_with_its_attention(weights, tmp_path):
    path, (model, _) = tmp_path / "run.jsonl", random_model(CONFIG, 0, "compiled", "float32", weights)
    given = [1, 2, 3], 5, minillm.Sampling(ignore_eos=True)
    with record(path, detail="attention"):
        tokens = minillm.generate(model, *given).tokens
    assert tokens == minillm.generate(model, *given).tokens
    for line in load(path).lines:
        if line["t"] == "attention":
            expected = minillm.attention_weights(model, [1, 2, 3, *tokens[:-1]], line["layer"])[line["head"]]
            assert np.allclose(unpacked(line), expected, atol=0.5 / 255 + 1e-3)
        assert line["t"] != "pass" or line["weight_bytes"] > 0
