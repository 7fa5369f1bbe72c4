"""GGUF metadata: read as llama.cpp means it; what would change the result and is not supported is refused by name."""

import struct

import numpy as np
import pytest
from test_gguf import assert_same_logits
from tiny_folder import CONFIG, assert_refused, weights
from tiny_gguf import write_gguf

import minillm

LINEAR = {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}
MISTRAL = {"model_type": "mistral", "architectures": None, "sliding_window": 2}
READ = {
    "linear": ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}, LINEAR),
    "a factor alone is linear": ({"llama.rope.scaling.factor": 4.0}, LINEAR),
    "an older name of it": ({"llama.rope.scale_linear": 4.0}, LINEAR),
    "no scaling after all": ({"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0}, {}),
    "theta": ({"llama.rope.freq_base": 500.0}, {"rope_theta": 500.0}),
    "a window makes a Mistral": ({"llama.attention.sliding_window": 2}, MISTRAL),
    "a window of 0 is none": ({"llama.attention.sliding_window": 0}, {}),
    "the vocabulary by its embedding": ({"llama.vocab_size": None}, {}),
    "the whole head is turned": ({"llama.rope.dimension_count": 4}, {}),
    "what has no effect": ({"llama.tensor_data_layout": "Meta AI original pth", "llama.expert_count": 0}, {}),
    "an attention factor of 1": ({"llama.rope.scaling.attn_factor": 1.0}, {}),
}


@pytest.mark.parametrize("case", READ)
def test_metadata_means_what_it_means_to_llama_cpp(case, tmp_path):
    metadata, says = READ[case]
    assert_same_logits(tmp_path, CONFIG, metadata=metadata, says=says)


MISSING = {
    "as many key heads as heads": ("llama.attention.head_count_kv", {"num_key_value_heads": 2}),
    "a head as wide as what is turned of it": ("llama.attention.key_length", {"head_dim": 6}),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_is_missing_follows_from_what_is_there(case, tmp_path):
    name, config = MISSING[case]
    assert_same_logits(tmp_path, CONFIG | config, metadata={name: None})


@pytest.mark.parametrize("names", [["eos"], ["eos", "eot"], ["eos", "eot", "eom"], ["eot"]])
def test_each_end_that_is_named_ends_the_text(names, tmp_path):
    """The end of a text, of a turn, and of a message, as Llama 3.1 has them."""
    ends = {f"tokenizer.ggml.{name}_token_id": place + 3 for place, name in enumerate(names)}
    write_gguf(tmp_path / "x.gguf", CONFIG, weights(), metadata=ends)
    assert minillm.load(tmp_path / "x.gguf").config.eos_token_ids == tuple(ends.values())


@pytest.mark.parametrize("value", [2**32 - 1, CONFIG["vocab_size"], -1.0, "a"])  # the first is -1, in 32 bits
@pytest.mark.parametrize("key", ["bos", "eos", "eot", "fim_pad", "padding", "unknown"])
def test_an_id_of_no_token_is_ignored_under_every_key(key, value, tmp_path):
    name = f"tokenizer.ggml.{key}_token_id"
    write_gguf(tmp_path / "x.gguf", CONFIG, weights(), metadata={"tokenizer.ggml.eom_token_id": 3, name: value})
    with pytest.warns(UserWarning) as caught:
        config = minillm.load(tmp_path / "x.gguf").config
    assert (config.bos_token_id, config.eos_token_ids) == (None, (3,))
    [warning] = caught
    assert str(warning.message) == f"x.gguf: ignored, since there are {CONFIG['vocab_size']} tokens: {name} {value!r}"


REFUSED = {
    "yarn": (
        {"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0},
        "rope_scaling: rope_type is 'yarn'",
    ),
    "linear without a factor": ({"llama.rope.scaling.type": "linear"}, "factor is None"),
    "no epsilon": ({"llama.attention.layer_norm_rms_epsilon": None}, "rms_norm_eps is None; expected a finite number"),
    "experts": ({"llama.expert_count": 8}, r"llama\.expert_count is 8; expected 0"),
    "experts, said with a line break": ({"llama.expert_count": "a\nb"}, r"llama\.expert_count is 'a\\nb'; expected 0"),
    "every token sees every other": ({"llama.attention.causal": False}, r"attention\.causal is False; expected true"),
    "attention made sharper": ({"llama.rope.scaling.attn_factor": 1.5}, r"attn_factor is 1\.5; expected 1\.0"),
    "part of a head": ({"llama.attention.key_length": 4, "llama.rope.dimension_count": 2}, "dimension_count is 2"),
    "a head of no number": (
        {"llama.attention.key_length": float("nan")},
        "head_dim is nan; expected an integer",
    ),
    "one part of several": ({"split.count": 3}, "is one of 3 split files; join them"),
    "heads by layer": ({"llama.attention.head_count": [2, 2]}, r"num_attention_heads is \[2, 2\]"),
    "a window nobody knows where": ({"qwen2.attention.sliding_window": 8}, "expected none: a qwen2 file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused_by_name(case, tmp_path):
    metadata, expected = REFUSED[case]
    arch = "qwen2" if case == "a window nobody knows where" else "llama"
    write_gguf(tmp_path / "x.gguf", CONFIG | {"model_type": arch}, weights(), metadata=metadata)
    assert_refused(tmp_path / "x.gguf", rf"^x\.gguf: .*{expected}")


@pytest.mark.parametrize("arch", ["gemma2", "phi3", "gpt2", "llama4"])
def test_an_unknown_architecture_is_refused_by_name(arch, tmp_path):
    write_gguf(tmp_path / "x.gguf", CONFIG | {"model_type": arch}, weights())
    assert_refused(tmp_path / "x.gguf", rf"^x\.gguf: general\.architecture is '{arch}'; expected one of llama")


KINDS = {  # by general.type
    "adapter": "'adapter'; expected 'model'; it is a LoRA adapter: merge it",
    "imatrix": "'imatrix'; expected 'model'; it is a matrix of importances: pass the model",
    "mmproj": "'mmproj'; expected 'model'; it is a part that reads pictures or sounds: pass",
}
ARCHITECTURES = {
    "clip": "it is a part that reads pictures", "bert": "it is an encoder", "nomic-bert": "it is an encoder",
    "gemma3": "it is of an architecture that is not supported: llama.cpp may run it", "qwen3moe": "it is of an arch",
}  # fmt: skip


@pytest.mark.parametrize("case", KINDS)
def test_a_gguf_of_another_kind_is_told_by_its_type(case, tmp_path):
    write_gguf(tmp_path / "x.gguf", CONFIG, weights(), metadata={"general.type": case})
    assert_refused(tmp_path / "x.gguf", f"general.type is {KINDS[case]}")


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_gguf_of_another_architecture_is_told_by_its_name(arch, tmp_path):
    write_gguf(tmp_path / "x.gguf", CONFIG | {"model_type": arch}, weights())
    assert_refused(tmp_path / "x.gguf", f"expected one of llama.*; {ARCHITECTURES[arch]}")


def test_a_gguf_of_a_later_version_is_not_asked_for_again(tmp_path):
    write_gguf(tmp_path / "x.gguf", CONFIG, weights())
    data = (tmp_path / "x.gguf").read_bytes()
    (tmp_path / "x.gguf").write_bytes(data[:4] + struct.pack("<I", 4) + data[8:])
    assert_refused(tmp_path / "x.gguf", r"^x\.gguf: GGUF version 4; expected 2 or 3$")


def test_a_token_that_is_not_utf_8_is_named_by_its_number(tmp_path):
    vocabulary = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.merges": ["a b"]}
    write_gguf(tmp_path / "x.gguf", CONFIG, weights(), metadata=vocabulary | {"tokenizer.ggml.tokens": ["a", "?", "b"]})
    data = (tmp_path / "x.gguf").read_bytes()
    (tmp_path / "x.gguf").write_bytes(data.replace(b"\0?", b"\0\xe8", 1))
    assert_refused(tmp_path / "x.gguf", r"^x\.gguf: tokenizer\.ggml\.tokens: token 1 is not UTF-8: b'\\xe8'$")


def test_one_warning_names_all_unknown_keys(tmp_path):
    metadata = {"llama.logit_scale": 2.0, "llama.attention.scale": 0.5, "general.name": "x", "GGUF.version": 3}
    write_gguf(tmp_path / "x.gguf", CONFIG, weights(), metadata=metadata)
    with pytest.warns(UserWarning) as caught:
        minillm.load(tmp_path / "x.gguf")
    assert [str(warning.message) for warning in caught] == [
        "x.gguf: unknown metadata is ignored: 'llama.attention.scale', 'llama.logit_scale'"
    ]


ODD_TENSORS = {
    "factors in a column": ("rope_freqs.weight", (2, 1), None),
    "too many factors": ("rope_freqs.weight", (3,), r"rope_freqs\.weight: expected 2 positive factors"),
    "factors below zero": ("rope_freqs.weight", (-2,), r"rope_freqs\.weight: expected 2 positive factors"),
    "q, k and v in one": (
        "blk.0.attn_qkv.weight",
        (2, 2),
        r"blk\.0\.attn_qkv\.weight: expected q, k and v as separate",
    ),
    "rows that no head has": (
        "blk.7.attn_q.weight",
        (2, 2),
        r"tensor 'blk\.7\.attn_q\.weight' has 2 rows; .* require 8",
    ),
    "a name of two lines": ("a\nb.attn_q.weight", (2, 2), None),
}


@pytest.mark.parametrize("case", ODD_TENSORS)
@pytest.mark.filterwarnings("ignore:.*tensors? (is|are) not used")
def test_odd_tensors_are_read_or_refused_in_one_line(case, tmp_path):
    name, shape, expected = ODD_TENSORS[case]
    values = np.full([abs(n) for n in shape], -1.0 if min(shape) < 0 else 2.0, np.float32)
    write_gguf(tmp_path / "x.gguf", CONFIG, weights(), more={name: values})
    if expected:
        assert_refused(tmp_path / "x.gguf", rf"^x\.gguf: {expected}")
    else:
        minillm.load(tmp_path / "x.gguf")
