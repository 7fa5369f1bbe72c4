"""Whatever distinguishes two models that are alike changes the fingerprint."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_folder import TEXT_CONFIG, save_model_folder
from random_models import architectures, random_checkpoint
from tensors import ArrayTensor
from test_checks import CONFIG

from minillm.loading import open_checkpoint
from minillm.loading.fingerprint import fingerprint
from minillm.loading.gguf.write import write_gguf


@settings(max_examples=30)
@given(architectures(), st.data())
def test_any_tensor_that_is_trained_further_changes_it(config, data):
    checkpoint = random_checkpoint(config, 0)
    assert fingerprint(checkpoint) == fingerprint(random_checkpoint(config, 0))
    name = data.draw(st.sampled_from(sorted(checkpoint.tensors)))
    trained = checkpoint.tensors | {name: ArrayTensor(checkpoint.tensors[name].values * 1.001)}
    assert fingerprint(dataclasses.replace(checkpoint, tensors=trained)) != fingerprint(checkpoint)


def with_one_number_changed(checkpoint, name, index):
    values = checkpoint.tensors[name].values.copy()
    values[index] += 1
    return dataclasses.replace(checkpoint, tensors=checkpoint.tensors | {name: ArrayTensor(values)})


@settings(max_examples=30)
@given(architectures(), st.data())
def test_of_a_small_model_every_number_counts(config, data):
    checkpoint = random_checkpoint(config, 0)
    name = data.draw(st.sampled_from(sorted(checkpoint.tensors)))
    index = tuple(data.draw(st.integers(0, length - 1)) for length in checkpoint.tensors[name].shape)
    assert fingerprint(with_one_number_changed(checkpoint, name, index)) != fingerprint(checkpoint)


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight"])
def test_of_a_large_model_every_token_counts_and_eight_rows_of_another_matrix(monkeypatch, name):
    """Rows that were added to the vocabulary may be all that differs."""
    monkeypatch.setattr("minillm.loading.fingerprint.SMALL", 0)
    checkpoint = random_checkpoint(dataclasses.replace(CONFIG, intermediate_size=64), 0)
    rows, before = len(checkpoint.tensors[name].values), fingerprint(checkpoint)
    count = sum(fingerprint(with_one_number_changed(checkpoint, name, (row, -1))) != before for row in range(rows))
    assert (count, rows > 8) == (rows if "embed" in name else 8, True)


def test_config_template_and_tokenizer_count(tmp_path):
    plain, other = (open_checkpoint(save_model_folder(tmp_path / str(n), t)) for n, t in enumerate((None, "{{ x }}")))
    config = dataclasses.replace(plain.config, rms_norm_eps=1e-4)
    models = [plain, other, dataclasses.replace(plain, config=config), dataclasses.replace(plain, tokenizer=None)]
    assert len({fingerprint(model) for model in models}) == 4


def test_a_gguf_file_has_one_too(tmp_path):
    """It permutes the rows of q and k within their heads."""
    tokenizer = open_checkpoint(save_model_folder(tmp_path / "a")).tokenizer
    model = random_checkpoint(TEXT_CONFIG, 1)
    name, found = "model.layers.0.self_attn.k_proj.weight", []
    for factor in (1.0, 1.001):
        trained = model.tensors | {name: ArrayTensor(model.tensors[name].values * factor)}
        write_gguf(dataclasses.replace(model, tokenizer=tokenizer, tensors=trained), tmp_path / "model.gguf")
        found.append(fingerprint(open_checkpoint(tmp_path / "model.gguf")))
    assert found[0] != found[1]
