"""Optional tensors follow the file: each bias, the head, the embedding, the common beginning of all names."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from tiny_folder import CONFIG, assert_refused, weights, write_folder, write_json
from tiny_gguf import write_gguf

import minillm
from minillm import reference
from minillm.estimate.parameters import parameters
from minillm.loading import open_checkpoint
from minillm.loading.build import weights_by_name
from minillm.loading.read_config import read_config

TOKENS = [3, 1, 4, 1, 5]
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
BIASED = CONFIG | {"attention_bias": True, "mlp_bias": True}
QWEN2 = CONFIG | {"model_type": "qwen2", "architectures": None}
QWEN3 = CONFIG | {"model_type": "qwen3", "architectures": None, "head_dim": 6}


def save(folder, config: dict, tensors: dict):
    """A folder with this config.json and these tensors, and no tokenizer."""
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", config)
    save_file({name: np.ascontiguousarray(values) for name, values in tensors.items()}, folder / "model.safetensors")
    return folder


def logits(path) -> np.ndarray:
    return minillm.forward(minillm.load(path, dtype="float64"), TOKENS)


def expected(config: dict, tensors: dict, **changes) -> np.ndarray:
    """The specification's logits for these tensors; `changes` are fields that the config should have said."""
    says = dataclasses.replace(read_config(config), **changes)
    return reference.forward(says, {name: np.float64(values) for name, values in tensors.items()}, TOKENS)


def assert_same(path, right: np.ndarray) -> None:
    """The engine gives these logits, and so does the specification with what `open_checkpoint` says."""
    np.testing.assert_allclose(logits(path), right, rtol=0, atol=1e-9)
    checkpoint = open_checkpoint(path)
    told = reference.forward(checkpoint.config, weights_by_name(checkpoint), TOKENS)
    np.testing.assert_allclose(told, right, rtol=0, atol=1e-9)
    used = sum(int(np.prod(tensor.shape)) for tensor in checkpoint.tensors.values())
    if not any(name.endswith("bias") for name in checkpoint.tensors):
        assert parameters(checkpoint.config) == used


def assert_only_warning(path, *words: str) -> None:
    """Loading issues one warning, of one line, with these words."""
    with pytest.warns(UserWarning) as caught:
        minillm.load(path)
    (message,) = (str(warning.message) for warning in caught)
    assert "\n" not in message and all(word in message for word in words), message


# The head and the embedding.


def test_a_stored_head_that_differs_from_the_tied_embedding_is_used_with_a_warning(tmp_path):
    tied, tensors = CONFIG | {"tie_word_embeddings": True}, weights()
    folder = save(tmp_path, tied, tensors)
    assert_only_warning(folder, "tie_word_embeddings is true", HEAD, "differs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same(folder, expected(tied, tensors, tie_word_embeddings=False))
        assert not minillm.load(folder).config.tie_word_embeddings


@pytest.mark.parametrize("stored_as", [np.float32, np.float16])
def test_an_equal_copy_of_the_tied_embedding_is_tied_in_silence(stored_as, tmp_path):
    tied = CONFIG | {"tie_word_embeddings": True}
    tensors = {name: values.astype(stored_as) for name, values in weights(tied).items()}
    folder = save(tmp_path, tied, tensors | {HEAD: tensors[EMBEDDING].copy()})
    assert_same(folder, expected(tied, tensors))
    assert minillm.load(folder).config.tie_word_embeddings


def test_a_tied_head_without_the_embedding_is_both(tmp_path):
    tied = CONFIG | {"tie_word_embeddings": True}
    tensors = weights(tied)
    stored = {HEAD if name == EMBEDDING else name: values for name, values in tensors.items()}
    assert_same(save(tmp_path, tied, stored), expected(tied, tensors))


def test_a_tied_head_of_another_shape_is_refused_by_name(tmp_path):
    tied, tensors = CONFIG | {"tie_word_embeddings": True}, weights()
    tensors[HEAD] = tensors[HEAD][1:]
    folder = save(tmp_path, tied, tensors)
    with pytest.warns(UserWarning, match="differs"):
        assert_refused(folder, rf"tensor {HEAD} has shape \[260, 8\]; the config requires \[261, 8\]")


MISSING = {
    "the head of an untied model": (CONFIG, [HEAD], rf"tensor {HEAD} is missing.*tie_word_embeddings is false"),
    "its embedding": (CONFIG, [EMBEDDING], rf"tensor {EMBEDDING} is missing.*tie_word_embeddings is false"),
    "all biases of attention": (BIASED, ["self_attn.?_proj.bias"], r"q_proj\.bias is missing.*attention_bias is true"),
    "all biases of the MLP": (BIASED, ["mlp.*.bias"], r"gate_proj\.bias is missing.*mlp_bias is true"),
    "all biases of a qwen2": (QWEN2, ["*.bias"], r"q_proj\.bias is missing.*a model of type qwen2 has it"),
    "the norms of a qwen3": (QWEN3, ["*.q_norm.weight", "*.k_norm.weight"], r"q_norm.* is missing.*type qwen3 has it"),
    "one norm of two": (QWEN3, ["*.k_norm.weight"], r"layers\.0\.self_attn\.k_norm\.weight is missing"),
    "a layer": (CONFIG, ["model.layers.1.*"], r"model\.layers\.1\.input_layernorm.* missing.*num_hidden_layers is 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISSING)
def test_the_line_about_a_missing_tensor_names_the_field_that_asks_for_it(case, tmp_path):
    from fnmatch import fnmatch

    config, dropped, message = MISSING[case]
    tensors = {n: w for n, w in weights(config).items() if not any(fnmatch(n, f"*{pattern}") for pattern in dropped)}
    assert_refused(save(tmp_path, config, tensors), message)


@pytest.mark.parametrize("other", ["self_attn.qproj", "self_attn.query_proj", "attention.q_proj"])
def test_the_line_about_a_missing_tensor_names_similar_ones(other, tmp_path):
    name = "model.layers.0.self_attn.q_proj.weight"
    tensors = weights()
    tensors[f"model.layers.0.{other}.weight"] = tensors.pop(name)
    assert_refused(
        save(tmp_path, CONFIG, tensors), rf"{name} is missing.*; similar: 'model\.layers\.0\.{other}\.weight'"
    )


@pytest.mark.parametrize(
    ("name", "other"),
    [(HEAD, "output.weight"), ("model.norm.weight", "ln_f.gain"), (EMBEDDING, "transformer.wte.weight"),
     ("model.layers.0.mlp.gate_proj.weight", "model.layers.0.ffn.w1")],
)  # fmt: skip
def test_the_line_about_a_missing_tensor_names_one_of_its_shape(name, other, tmp_path):
    tensors = weights() | {f"model.layers.{n}.x": np.ones((3, 2), np.float32) for n in (0, 1)}
    tensors |= {other: tensors.pop(name), "more": np.ones((2, 3), np.float32)}
    assert_refused(save(tmp_path, CONFIG, tensors), rf"tensor {name} is missing[^;]*; similar: '{other}'$")


# Biases, each by itself.

BIASES = [n for n in weights(BIASED) if n.endswith(".bias")]


PREFIXES = ["model.", "", "language_model.model.", "_orig_mod.model."]
FLAGS = {"attention_bias": st.booleans(), "mlp_bias": st.booleans(), "tie_word_embeddings": st.just(True)}


@given(kept=st.sets(st.sampled_from(BIASES)), flags=st.fixed_dictionaries({}, optional=FLAGS),
       prefix=st.sampled_from(PREFIXES), gguf=st.booleans())  # fmt: skip
def test_any_biases_give_what_the_specification_gives_for_what_is_stored(kept, flags, prefix, gguf, tmp_path_factory):
    """Or the model is refused: a field asks for biases of which the file has not one."""
    tied = flags.get("tie_word_embeddings", False)
    tensors = {name: values for name, values in weights(BIASED).items() if name in kept or not name.endswith("bias")}
    if tied:
        del tensors[HEAD]
    folder = tmp_path_factory.mktemp("biases")
    if gguf:
        write_gguf(path := folder / "x.gguf", CONFIG, tensors)
        unkept = False
    else:
        path = save(folder, CONFIG | flags, renamed(tensors, prefix))
        unkept = any(flags.get(flag) and not any(f"{part}." in name for name in kept)
                     for flag, part in (("attention_bias", "self_attn"), ("mlp_bias", "mlp")))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if unkept:
            assert_refused(path, r"_proj\.bias is missing, but the config requires it \((attention|mlp)_bias is true\)")
        else:
            assert_same(path, expected(CONFIG, tensors, tie_word_embeddings=tied))


def test_a_gguf_may_have_biases_of_q_k_and_v_alone(tmp_path):
    tensors = {name: values for name, values in weights(BIASED).items()
               if not name.endswith("bias") or name.split(".")[-2] in ("q_proj", "k_proj", "v_proj")}  # fmt: skip
    write_gguf(tmp_path / "x.gguf", CONFIG, tensors)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(tmp_path / "x.gguf", expected(CONFIG, tensors))
    config = open_checkpoint(tmp_path / "x.gguf").config
    assert (config.attention_bias, config.attention_output_bias, config.mlp_bias) == (True, False, False)


DISAGREEMENTS = {
    "biases that the config denies": (CONFIG, BIASED, "", ["attention_bias is false", "mlp_bias is false"]),
    "no bias of the output": (BIASED, BIASED, "o_proj.bias", ["attention_bias is true", "self_attn.o_proj.bias"]),
    "a bias that one layer lacks": (BIASED, BIASED, "1.mlp.down_proj.bias", ["mlp.down_proj.bias", "1 of 2 layers"]),
    "norms that a llama does not have": (CONFIG | {"head_dim": 6}, QWEN3, "", ["self_attn.q_norm.weight", "llama"]),
}  # fmt: skip


@pytest.mark.parametrize("case", DISAGREEMENTS)
def test_what_the_file_and_the_config_do_not_agree_upon_is_used_with_one_warning(case, tmp_path):
    says, has, without, words = DISAGREEMENTS[case]
    tensors = {name: w for name, w in weights(has).items() if not without or not name.endswith(without)}
    folder = save(tmp_path, says, tensors)
    assert_only_warning(folder, *words)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same(folder, expected(says, tensors, qk_norm=has is QWEN3))


# The common beginning of all names.


def renamed(tensors: dict, prefix: str, head: str | None = None) -> dict:
    """These tensors as a file has them in which `prefix` stands in the place of "model."."""
    head = prefix.removesuffix("model.") + "lm_head.weight" if head is None else head
    return {head if name == HEAD else prefix + name.removeprefix("model."): w for name, w in tensors.items()}


@pytest.mark.parametrize(
    ("prefix", "head"),
    [("", HEAD), ("language_model.model.", "language_model.lm_head.weight"), ("model.language_model.", HEAD),
     ("_orig_mod.model.", "_orig_mod.lm_head.weight"), ("transformer.", "transformer.lm_head.weight"),
     ("base_model.model.model.", "base_model.model.lm_head.weight")],
)  # fmt: skip
def test_names_may_begin_otherwise(prefix, head, tmp_path):
    tensors = weights()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(save(tmp_path, CONFIG, renamed(tensors, prefix, head)), expected(CONFIG, tensors))


def test_two_models_in_one_file_are_not_chosen_from(tmp_path):
    tensors = renamed(weights(), "first.", "first.lm_head.weight") | renamed(weights(), "second.", "second.head.weight")
    assert_refused(
        save(tmp_path, CONFIG, tensors), r"embed_tokens\.weight is missing.*; similar: '(first|second)\.embed"
    )


def test_the_usual_beginning_comes_first(tmp_path):
    tensors = weights()
    folder = save(tmp_path, CONFIG, tensors | renamed(weights(seed=1), "draft.", "draft.lm_head.weight"))
    assert_only_warning(folder, "tensors are not used: 'draft.")


def test_of_many_unused_tensors_four_are_named(tmp_path):
    extra = {f"extra.{letter}": np.zeros(2, np.float32) for letter in "fedcba"}
    with pytest.warns(UserWarning, match=r": 6 tensors are not used: 'extra\.a', 'extra\.b', 'extra\.c', 'extra\.d'$"):
        minillm.load(save(tmp_path, CONFIG, weights() | extra))


# What stands in for a tensor must be equal to it.


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_stored_frequencies_that_follow_from_the_config_are_passed_over(dtype, tmp_path):
    frequencies = (10_000.0 ** (-np.arange(0, 4, 2) / 4)).astype(dtype)
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert name not in open_checkpoint(save(tmp_path, CONFIG, weights() | {name: frequencies})).tensors


@pytest.mark.parametrize("values", [[1.0, 0.5], [1.0], [[1.0, 0.01]], [1, 0], [np.nan, np.nan]])
def test_stored_frequencies_of_another_rope_are_named(values, tmp_path):
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    stored = np.array(values, np.int64 if values == [1, 0] else np.float32)
    assert_only_warning(save(tmp_path, CONFIG, weights() | {name: stored}), "1 tensor is not used", name)


def test_frequency_factors_and_a_linear_factor_both_count(tmp_path):
    """As in llama.cpp, which multiplies positions by the scale and divides each angle by its factor."""
    tensors, factors = weights(), np.array([1.0, 2.0], np.float32)
    metadata = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}
    write_gguf(tmp_path / "x.gguf", CONFIG, tensors, metadata=metadata, more={"rope_freqs.weight": factors})
    rope = minillm.config.RopeParameters(frequency_factors=(4.0, 8.0))
    assert_same(tmp_path / "x.gguf", expected(CONFIG, tensors, rope=rope))


def test_a_shard_that_the_index_does_not_use_changes_nothing(tmp_path):
    folder = write_folder(tmp_path)
    index = {name: "model.safetensors" for name in weights()}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert open_checkpoint(folder).tensors.keys() == weights().keys()


def test_another_ending_of_a_name_is_similar(tmp_path):
    tensors = weights()
    tensors["model.layers.1.input_layernorm.gamma"] = tensors.pop("model.layers.1.input_layernorm.weight")
    assert_refused(save(tmp_path, CONFIG, tensors), r"similar: 'model\.layers\.1\.input_layernorm\.gamma'")


def test_one_norm_of_two_is_the_reason_for_the_other(tmp_path):
    """A llama has none: the file says that this model has them."""
    norms = {f"model.layers.{layer}.self_attn.q_norm.weight": np.ones(4, np.float32) for layer in (0, 1)}
    with pytest.warns(UserWarning, match="q_norm"):
        assert_refused(
            save(tmp_path, CONFIG, weights() | norms),
            r"k_norm\.weight is missing, but .*\(the file has self_attn\.q_norm\.weight\)",
        )
