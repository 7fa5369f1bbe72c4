"""A config.json means here what it means to transformers, whichever fields it leaves out."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from minillm.layers import rope_frequencies
from minillm.loading.read_config import read_config

KINDS = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}
TYPES = st.sampled_from(["full_attention", "sliding_attention"])
ROPES = st.one_of(
    st.fixed_dictionaries({"rope_type": st.just("default")}),
    st.fixed_dictionaries({"rope_type": st.just("linear"), "factor": st.sampled_from([2.0, 8.0])}),
    st.fixed_dictionaries(
        {"rope_type": st.just("llama3"), "factor": st.just(8.0), "low_freq_factor": st.just(1.0),
         "high_freq_factor": st.just(4.0)},
        optional={"original_max_position_embeddings": st.sampled_from([64, 8192])},
    ),
)  # fmt: skip
THETA = st.sampled_from([1e4, 5e5])


@st.composite
def rope_fields(draw) -> dict:
    """As transformers 4 or transformers 5 write them, or not at all."""
    style = draw(st.sampled_from(["none", "theta", "old", "old, 'type'", "new", "new without theta"]))
    rope, theta = draw(ROPES), draw(THETA)
    if style in ("none", "theta"):
        return {"rope_theta": theta} if style == "theta" else {}
    if style == "old, 'type'":
        rope["type"] = rope.pop("rope_type")
    if style.startswith("old"):
        return {"rope_theta": theta, "rope_scaling": draw(st.sampled_from([rope, None]))}
    return {"rope_parameters": rope | ({"rope_theta": theta} if style == "new" else {})}


@st.composite
def configs(draw) -> dict:
    """A config.json in which every field that has a default may be missing."""
    kind, heads, layers = draw(st.sampled_from(sorted(KINDS))), draw(st.sampled_from([32, 64])), draw(st.integers(1, 4))
    optional = {
        "num_key_value_heads": st.sampled_from([1, 8, heads] + ([None] if kind != "mistral" else [])),
        "head_dim": st.sampled_from([2, 80]),
        "max_position_embeddings": st.sampled_from([512, 4096]),
        "rms_norm_eps": st.sampled_from([1e-5, 1e-6]),
        "tie_word_embeddings": st.booleans(),
        "bos_token_id": st.sampled_from([None, 0, 7]),
        "eos_token_id": st.sampled_from([None, 0, [7, 9]]),
    }
    if kind in ("llama", "qwen3"):
        optional["attention_bias"] = st.booleans()
    if kind == "llama":
        optional["mlp_bias"] = st.booleans()
    if kind == "mistral":
        optional["sliding_window"] = st.sampled_from([None, 16])
    if kind.startswith("qwen"):
        on = draw(st.booleans())
        optional["max_window_layers"] = st.integers(0, 4)
        optional["use_sliding_window"] = st.just(on)
        optional["sliding_window"] = st.sampled_from([16, None] if on else [16])
    required = {"model_type": st.just(kind), "vocab_size": st.just(300), "hidden_size": st.just(256),
                "intermediate_size": st.just(100), "num_hidden_layers": st.just(layers),
                "num_attention_heads": st.just(heads)}  # fmt: skip
    if kind.startswith("qwen") and on:  # seldom all there by chance
        required |= {name: optional.pop(name) for name in ("use_sliding_window", "max_window_layers")}
    config = draw(st.fixed_dictionaries(required, optional=optional)) | draw(rope_fields())
    if config.get("use_sliding_window") and config.get("sliding_window", 4096) is not None and draw(st.booleans()):
        config["layer_types"] = draw(st.lists(TYPES, min_size=layers, max_size=layers))
    return config


def transformers_resolves(values: dict):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return KINDS[values["model_type"]].from_dict(dict(values))


@given(configs())
def test_fields_left_out_mean_what_transformers_takes(values):
    ours, theirs = read_config(values), transformers_resolves(values)
    for name in ("num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings",
                 "bos_token_id"):  # fmt: skip
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.head_dim == (getattr(theirs, "head_dim", None) or theirs.hidden_size // theirs.num_attention_heads)
    ends = theirs.eos_token_id
    assert ours.eos_token_ids == tuple([] if ends is None else ends if isinstance(ends, list) else [ends])
    assert ours.mlp_bias == getattr(theirs, "mlp_bias", False)
    assert ours.attention_bias == (values["model_type"] == "qwen2" or getattr(theirs, "attention_bias", False))


@settings(max_examples=200)
@given(configs())
def test_each_layer_sees_as_far_as_in_transformers(values):
    ours, theirs = read_config(values), transformers_resolves(values)
    everywhere = "sliding_attention" if values["model_type"] == "mistral" else "full_attention"
    types = getattr(theirs, "layer_types", None) or [everywhere] * theirs.num_hidden_layers
    window = getattr(theirs, "sliding_window", None)
    assert ours.sliding_windows == tuple(window if kind == "sliding_attention" else None for kind in types)


@given(configs())
def test_positions_turn_as_in_transformers(values):
    ours, theirs = read_config(values), transformers_resolves(values)
    theirs.head_dim = ours.head_dim
    expected = LlamaRotaryEmbedding(theirs).inv_freq.double()
    torch.testing.assert_close(torch.tensor(rope_frequencies(ours.rope, ours.head_dim)), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_transformers_writes_by_default_is_understood_without_a_warning(kind):
    """With the warning, pytest would fail."""
    values = KINDS[kind](num_key_value_heads=4, num_attention_heads=32).to_dict()
    assert read_config(values).model_type == kind
