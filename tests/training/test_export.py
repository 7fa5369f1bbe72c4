"""Exported weights are what minillm.load reads: the trained ones, rounded to float16."""

import json

import numpy as np
from training.trainable import as_model, random_parameters

import minillm
from minillm.training.export import export
from minillm.training.parameters import llama_config


def test_an_exported_model_loads_and_gives_the_logits_of_the_rounded_weights(tmp_path):
    parameters = random_parameters(llama_config(17, 12, 10, 2, 6, 2, 64), seed=3)
    export(parameters, tmp_path / "model")
    assert sorted(file.name for file in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors"]
    assert json.loads((tmp_path / "model" / "config.json").read_text())["torch_dtype"] == "float16"
    loaded = minillm.load(tmp_path / "model", backend="plain", dtype="float64")
    parameters.vector[...] = parameters.vector.astype(np.float16)
    expected = minillm.forward(as_model(parameters), [1, 5, 9])
    assert loaded.config == parameters.config
    np.testing.assert_allclose(minillm.forward(loaded, [1, 5, 9]), expected, rtol=0, atol=1e-12)
