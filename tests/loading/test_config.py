"""config.json comes from a stranger: absurd values are refused by name, and so is what would change the result."""

import json
import math
import warnings
from dataclasses import asdict

import pytest
from tiny_folder import CONFIG, assert_refused, write_folder, write_json

from minillm.config import RopeParameters
from minillm.loading.read_config import read_config

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
DEEP = json.loads("[" * 900 + "]" * 900)
SIZES = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
         "num_key_value_heads", "max_position_embeddings", "head_dim"]  # fmt: skip
ABSURD = [0, -1, True, False, 8.0, "8", [8], {"a": 8}, math.nan, math.inf, 10**400, 2**63, DEEP]
NO_NUMBERS = [0, -1.0, True, "1e-5", [1e-5], math.nan, math.inf, -math.inf, 10**400, 1e300, 5e-324, DEEP]
FULL, SLIDING = "full_attention", "sliding_attention"
NO_BOOLEANS = [0, 1, "true", None, [], {}, math.nan]


def read(**changes):
    """A config of type llama with these fields; no warning is expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_config(CONFIG | changes)


def assert_wrong(changes: dict, *names: str) -> str:
    """The one-line message, which names the field."""
    with pytest.raises(ValueError) as caught:
        read_config(CONFIG | changes)
    message = str(caught.value)
    assert type(caught.value) is ValueError and "\n" not in message and len(message) < 300
    assert message.startswith("config.json: ") and all(name in message for name in names), message
    return message


@pytest.mark.parametrize("value", ABSURD, ids=lambda v: str(v)[:12])
@pytest.mark.parametrize("name", SIZES)
def test_a_size_is_a_whole_number_in_a_range(name, value):
    assert "expected an integer from 1 to" in assert_wrong({name: value}, f"{name} is")


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda v: str(v)[:12])
@pytest.mark.parametrize("name", ["rms_norm_eps", "rope_theta"])
def test_a_number_is_finite_and_above_zero(name, value):
    assert_wrong({name: value}, f"{name} is", "expected a finite number above 0")


@pytest.mark.parametrize("value", NO_BOOLEANS, ids=str)
@pytest.mark.parametrize("name", ["tie_word_embeddings", "attention_bias", "mlp_bias"])
def test_a_switch_is_true_or_false(name, value):
    assert_wrong({name: value}, f"{name} is", "expected true or false")


@pytest.mark.parametrize("value", [-1, 261, 2**64, True, 1.0, "</s>", [0, 261], [[0]], {"id": 0}, math.nan, DEEP],
                         ids=lambda v: str(v)[:12])  # fmt: skip
@pytest.mark.parametrize("name", ["bos_token_id", "eos_token_id"])
def test_a_token_id_is_in_the_vocabulary(name, value):
    assert_wrong({name: value}, f"{name} is", "below vocab_size 261")


@pytest.mark.parametrize("name", ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                                  "num_attention_heads"])  # fmt: skip
def test_a_size_without_which_there_is_no_model_is_required(name):
    values = {field: value for field, value in CONFIG.items() if field != name}
    with pytest.raises(ValueError, match=rf"^config\.json: {name} is None; expected an integer"):
        read_config(values)


REFUSED = {
    "odd head_dim": ({"head_dim": 3}, "head_dim is 3; expected an even number"),
    "odd head_dim by division": ({"hidden_size": 6}, "head_dim is 3; expected an even number"),
    "heads that do not divide the width": ({"hidden_size": 9}, "hidden_size is 9; expected a multiple of"),
    "key heads that do not divide": ({"num_attention_heads": 4, "num_key_value_heads": 3}, "a divisor of"),
    "more key heads than heads": ({"num_key_value_heads": 4}, "a divisor of num_attention_heads 2"),
    "model_type missing": ({"model_type": None}, "model_type is None; expected one of llama, mistral, qwen2, qwen3"),
    "model_type unknown": ({"model_type": "gpt2"}, "model_type is 'gpt2'; expected one of"),
    "model_type is a list": ({"model_type": ["llama"]}, "model_type is ['llama']; expected one of"),
    "a classifier": ({"architectures": ["LlamaForSequenceClassification"]}, "architectures is"),
    "another architecture": ({"architectures": ["MixtralForCausalLM"]}, "expected ['LlamaForCausalLM']"),
    "architectures is a text": ({"architectures": "LlamaForCausalLM"}, "expected ['LlamaForCausalLM']"),
    "architectures of lists": ({"architectures": [DEEP]}, "expected ['LlamaForCausalLM']"),
    "gelu": ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; expected 'silu', the only one supported"),
    "hidden_act is a list": ({"hidden_act": ["silu"]}, "hidden_act is ['silu']"),
    "hidden_act is an object": ({"hidden_act": {}}, "hidden_act is {}"),
    "quantised": ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config is {'quant_method'"),
    "quantised by MLX": ({"quantization": {"bits": 4}}, "quantization is {'bits': 4}"),
    "every token sees every other": ({"is_causal": False}, "is_causal is False; expected True, the only one supported"),
    "positions in three axes": ({"use_mrope": True}, "use_mrope is True; expected False"),
    "part of the head turned": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
    "encoder and decoder": ({"is_encoder_decoder": True}, "is_encoder_decoder is True"),
    "window in a llama": ({"sliding_window": 8}, "sliding_window is 8; expected null"),
    "layer types in a llama": ({"layer_types": ["sliding_attention"] * 2}, "layer_types is"),
    "original length outside the rope fields": ({"original_max_position_embeddings": 8}, "original_max_position"),
    "rope_scaling is a text": ({"rope_scaling": "llama3"}, "rope_scaling is 'llama3'; expected one flat object"),
    "rope_scaling is a list": ({"rope_scaling": [LLAMA3]}, "expected one flat object"),
    "rope_parameters is a list": ({"rope_parameters": [1]}, "rope_parameters is [1]; expected one flat object"),
    "rope by layer type": ({"rope_parameters": {"full_attention": LLAMA3}}, "expected one flat object"),
    "two ropes": ({"rope_scaling": LLAMA3, "rope_parameters": LLAMA3 | {"factor": 4.0}}, "rope_scaling is"),
    "rope type is null": ({"rope_scaling": {"rope_type": None}}, "rope_type is None; expected default, linear or"),
    "rope type is a list": ({"rope_scaling": {"type": ["linear"]}}, "type is ['linear']"),
    "rope without a factor": ({"rope_scaling": {"type": "linear"}}, "factor is None; expected a finite number"),
    "rope with a huge factor": ({"rope_scaling": {"type": "linear", "factor": 10**400}}, "factor is 1000"),
    "rope with a tiny factor": ({"rope_scaling": {"type": "linear", "factor": 5e-324}}, "factor is 5e-324"),
    "rope with a factor of NaN": ({"rope_scaling": {"type": "linear", "factor": math.nan}}, "factor is nan"),
    "rope_theta inside is null": ({"rope_parameters": LLAMA3 | {"rope_theta": None}}, "rope_theta is None"),
    "rope turns a part": ({"rope_parameters": {"partial_rotary_factor": 0.25}}, "partial_rotary_factor is 0.25"),
    "high below low": ({"rope_scaling": LLAMA3 | {"high_freq_factor": 0.5}}, "high_freq_factor is 0.5"),
    "high equal to low": ({"rope_scaling": LLAMA3 | {"high_freq_factor": 1.0}}, "high_freq_factor is 1.0"),
    "no low": ({"rope_scaling": {"rope_type": "llama3", "factor": 8}}, "low_freq_factor is None"),
    "fractional length": ({"rope_scaling": LLAMA3 | {"original_max_position_embeddings": 8192.5}}, "8192.5"),
    "biases in a mistral": ({"model_type": "mistral", "architectures": None, "attention_bias": True}, "attention_bias"),
    "MLP biases in a qwen3": ({"model_type": "qwen3", "architectures": None, "mlp_bias": True}, "mlp_bias is True"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_unsupported_values_are_refused_by_name(case):
    changes, expected = REFUSED[case]
    assert_wrong(changes, expected)


@pytest.mark.parametrize("rope_type", ["yarn", "dynamic", "longrope", "su", "mrope", "ntk", "proportional", "LINEAR"])
@pytest.mark.parametrize("key", ["type", "rope_type"])
def test_unsupported_kinds_of_rope_are_refused_by_name(key, rope_type):
    assert_wrong({"rope_scaling": {key: rope_type, "factor": 2.0}}, f"rope_scaling: {key} is {rope_type!r}")
    assert_wrong({"rope_parameters": {key: rope_type, "factor": 2.0}}, f"rope_parameters: {key} is {rope_type!r}")


@pytest.mark.parametrize("values", [None, [], 3, "llama", [CONFIG], math.nan, DEEP], ids=lambda v: str(v)[:12])
def test_a_config_is_an_object(values):
    with pytest.raises(ValueError, match=r"^config\.json: expected a JSON object"):
        read_config(values)


def test_one_warning_names_all_unknown_fields():
    with pytest.warns(UserWarning) as caught:
        read_config(CONFIG | {"attention_multiplier": 0.5, "logit_scale": 2, "x\ny": 1})
    assert [str(warning.message) for warning in caught] == [
        r"config.json: unknown fields are ignored: 'attention_multiplier', 'logit_scale', 'x\ny'"
    ]
    with pytest.warns(UserWarning, match="rope_scaling: unknown fields are ignored: 'mscale'"):
        read_config(CONFIG | {"rope_scaling": LLAMA3 | {"mscale": 1.0}})


def test_fields_that_cannot_change_inference_are_skipped_silently():
    assert read() == read(
        torch_dtype="bfloat16", transformers_version="4.40.0", use_cache=True, attention_dropout=0.5,
        initializer_range=0.02, pretraining_tp=1, pad_token_id=-1, _name_or_path="x", **{"transformers.js_config": {}},
        hidden_act="silu", is_llama_config=True, rope_interleaved=False, rope_scaling=None, rope_parameters=None,
        quantization_config=None, partial_rotary_factor=1.0, head_dim=None, layer_types=["full_attention"] * 2,
        use_mrope=False, is_causal=True, unsloth_fixed=True,
    )  # fmt: skip


def test_rope_is_spelled_three_ways():
    old = read(rope_theta=5e5, rope_scaling=LLAMA3).rope
    assert old == read(rope_parameters=LLAMA3 | {"rope_theta": 5e5}).rope
    assert old == read(rope_theta=5e5, rope_scaling=LLAMA3, rope_parameters=LLAMA3).rope
    assert (old.rope_type, old.rope_theta, old.factor, old.original_max_position_embeddings) == ("llama3", 5e5, 8, 64)
    assert read(rope_scaling={"type": "linear", "factor": 2}).rope.rope_type == "linear"


UNUSUAL = {  # each value unlike every default, and unlike every other, so that no field can pass for another
    "vocab_size": 301, "hidden_size": 84, "intermediate_size": 52, "num_hidden_layers": 3, "num_attention_heads": 10,
    "num_key_value_heads": 5, "head_dim": 22, "max_position_embeddings": 977, "rms_norm_eps": 3.25e-4,
    "tie_word_embeddings": True, "bos_token_id": 11, "eos_token_id": [13, 17], "rope_theta": 123.5,
    "rope_scaling": {"rope_type": "llama3", "factor": 6.5, "low_freq_factor": 2.5, "high_freq_factor": 7.25,
                     "original_max_position_embeddings": 613},
}  # fmt: skip
ROPE = RopeParameters(123.5, "llama3", 6.5, 2.5, 7.25, 613)
UNUSUAL_OF = {  # what only this model_type can say, and which fields of the ModelConfig that are not of UNUSUAL follow
    "llama": ({"attention_bias": True, "mlp_bias": True},
              {"attention_bias": True, "attention_output_bias": True, "mlp_bias": True}),
    "mistral": ({"sliding_window": 29}, {"sliding_windows": (29,) * 3}),
    "qwen2": ({"sliding_window": 29, "use_sliding_window": True, "max_window_layers": 2},
              {"sliding_windows": (None, None, 29), "attention_bias": True}),
    "qwen3": ({"sliding_window": 29, "use_sliding_window": True, "layer_types": [SLIDING, FULL, SLIDING],
               "attention_bias": True},
              {"sliding_windows": (29, None, 29), "attention_bias": True, "attention_output_bias": True,
               "qk_norm": True}),
}  # fmt: skip


@pytest.mark.parametrize("model_type", UNUSUAL_OF)
def test_every_field_arrives(model_type):
    more, expected = UNUSUAL_OF[model_type]
    usual = {"attention_bias": False, "attention_output_bias": False, "mlp_bias": False, "qk_norm": False,
             "sliding_windows": (None,) * 3}  # fmt: skip
    said = {name: UNUSUAL[name] for name in UNUSUAL if name not in ("rope_theta", "rope_scaling", "eos_token_id")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_config(UNUSUAL | more | {"model_type": model_type})
    assert asdict(found) == said | usual | expected | {
        "model_type": model_type, "eos_token_ids": (13, 17), "rope": asdict(ROPE),
    }  # fmt: skip


def test_every_field_of_the_rope_arrives_however_it_is_spelled():
    """All fields of `RopeParameters` but those of a GGUF file, for each type that has them, from both names."""
    scaling = UNUSUAL["rope_scaling"]
    assert read(rope_parameters=scaling | {"rope_theta": 123.5}, rope_theta=None).rope == ROPE
    assert read(rope_theta=123.5, rope_scaling=scaling).rope == ROPE
    old_name = {"type" if name == "rope_type" else name: value for name, value in scaling.items()}
    assert read(rope_theta=123.5, rope_scaling=old_name).rope == ROPE
    linear = RopeParameters(123.5, "linear", 6.5)
    assert read(rope_theta=123.5, rope_scaling={"type": "linear", "factor": 6.5}).rope == linear
    assert read(rope_parameters={"rope_type": "linear", "factor": 6.5, "rope_theta": 123.5}).rope == linear
    assert read(rope_parameters={"rope_theta": 123.5}).rope == RopeParameters(123.5)


DEFAULTS_OF = {  # from transformers' configuration classes: what a file that omits all that it may omit means
    "llama": {"num_key_value_heads": 32, "head_dim": 2, "max_position_embeddings": 2048, "bos_token_id": 1,
              "eos_token_ids": (2,)},
    "mistral": {"num_key_value_heads": 8, "head_dim": 2, "max_position_embeddings": 131_072, "bos_token_id": 1,
                "eos_token_ids": (2,), "sliding_windows": (4096,) * 30},
    "qwen2": {"num_key_value_heads": 32, "head_dim": 2, "max_position_embeddings": 32_768, "attention_bias": True},
    "qwen3": {"num_key_value_heads": 32, "head_dim": 128, "max_position_embeddings": 32_768, "qk_norm": True},
}  # fmt: skip


@pytest.mark.parametrize("model_type", DEFAULTS_OF)
def test_every_omitted_field_has_the_default_of_transformers(model_type):
    sizes = {"vocab_size": 301, "hidden_size": 64, "intermediate_size": 52, "num_hidden_layers": 30,
             "num_attention_heads": 32}  # fmt: skip
    usual = {"rms_norm_eps": 1e-6, "tie_word_embeddings": False, "rope": asdict(RopeParameters(10_000.0)),
             "attention_bias": False, "attention_output_bias": False, "mlp_bias": False, "qk_norm": False,
             "sliding_windows": (None,) * 30, "bos_token_id": None, "eos_token_ids": ()}  # fmt: skip
    expected = sizes | usual | {"model_type": model_type} | DEFAULTS_OF[model_type]
    assert asdict(read_config(sizes | {"model_type": model_type})) == expected


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3"])
def test_the_windows_of_qwen_begin_by_default_at_the_29th_layer(model_type):
    changes = {"model_type": model_type, "architectures": None, "num_hidden_layers": 30, "use_sliding_window": True}
    assert read(**changes).sliding_windows == (None,) * 28 + (4096,) * 2


QWEN = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "sliding_window": 8}
ON = QWEN | {"use_sliding_window": True}
WINDOWS = {
    "a llama has none": ({}, (None, None)),
    "a mistral has 4096": ({"model_type": "mistral", "architectures": []}, (4096, 4096)),
    "a mistral without": ({"model_type": "mistral", "architectures": [], "sliding_window": None}, (None, None)),
    "switched off": (QWEN | {"use_sliding_window": False, "max_window_layers": 0}, (None, None)),
    "from the second layer": (ON | {"max_window_layers": 1}, (None, 8)),
    "from the 28th layer": (ON, (None, None)),
    "by layer_types": (ON | {"layer_types": [SLIDING, FULL], "max_window_layers": 1}, (8, None)),
    "no window to slide": (ON | {"sliding_window": None, "max_window_layers": 0}, (None, None)),
}  # fmt: skip


@pytest.mark.parametrize("case", WINDOWS)
def test_each_layer_has_its_window(case):
    changes, expected = WINDOWS[case]
    assert read(**changes).sliding_windows == expected


BAD_WINDOWS = {
    "sliding but switched off": (QWEN | {"layer_types": [SLIDING, FULL]}, "layer_types"),
    "sliding but null": (ON | {"layer_types": [SLIDING, FULL], "sliding_window": None}, "sliding_window is None"),
    "a window of nothing": (ON | {"max_window_layers": 0, "sliding_window": 0}, "sliding_window is 0"),
    "a window of text": (ON | {"max_window_layers": 0, "sliding_window": "8"}, "sliding_window is '8'"),
    "too few layer types": (ON | {"layer_types": [FULL]}, "layer_types"),
    "unknown layer type": (ON | {"layer_types": [FULL, "linear_attention"]}, "layer_types"),
    "layer types of lists": (ON | {"layer_types": [[FULL], [FULL]]}, "layer_types"),
    "layer types as a text": (ON | {"layer_types": "ab"}, "layer_types"),
    "max_window_layers below zero": (ON | {"max_window_layers": -1}, "max_window_layers is -1"),
    "use_sliding_window as a number": (QWEN | {"use_sliding_window": 1}, "use_sliding_window is 1"),
    "mistral by layer types": ({"model_type": "mistral", "architectures": [], "layer_types": [FULL, SLIDING]},
                               "layer_types"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_WINDOWS)
def test_windows_that_make_no_sense_are_refused(case):
    changes, expected = BAD_WINDOWS[case]
    assert_wrong(changes, expected)


@pytest.mark.parametrize(
    "config, generation, expected",
    [(1, None, (1,)), ([1, 5], None, (1, 5)), (None, None, ()), (1, 7, (1, 7)), ([1, 5], [5, 7], (1, 5, 7)),
     (None, [7], (7,)), (1, {}, (1,)), ([], [], ())],
)  # fmt: skip
def test_end_tokens_come_from_both_files(config, generation, expected):
    fields = None if generation is None else {} if generation == {} else {"eos_token_id": generation}
    assert read_config(CONFIG | {"eos_token_id": config}, "config.json", fields).eos_token_ids == expected


@pytest.mark.parametrize("generation", [[], 3, {"eos_token_id": "x"}, {"eos_token_id": -1}, {"eos_token_id": 10**30},
                                        {"eos_token_id": [1, None]}, {"eos_token_id": 261}], ids=str)  # fmt: skip
def test_a_bad_generation_config_is_refused_by_name(generation, tmp_path):
    folder = write_folder(tmp_path)
    write_json(folder / "generation_config.json", generation)
    assert_refused(folder, r"^generation_config\.json: ")


def test_a_huge_model_without_weights_costs_nothing(tmp_path):
    """10,000 layers of 2^20 by 2^22 numbers would be an exabyte; the first tensor that is not there ends it."""
    huge = {"num_hidden_layers": 10_000, "hidden_size": 2**20, "intermediate_size": 2**22, "vocab_size": 2**24}
    folder = write_folder(tmp_path)
    write_json(folder / "config.json", CONFIG | huge | {"num_attention_heads": 2**10, "num_key_value_heads": 2**10})
    assert_refused(folder, r"embed_tokens\.weight has shape \[261, 8\]; the config requires \[16777216, 1048576\]")


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"a": 1, "a": 2}', b"[]", b'{"model_type": "llama"', b"null",
     b'{"model_type": "llama", "vocab_size": 1e400}', b'{"model_type": "llama", "vocab_size": ' + b"9" * 5000 + b"}",
     b'{"model_type": "llama", "vocab_size": NaN}', b'{"model_type": "llama", "vocab_size": -Infinity}'],
    ids=range(12),
)  # fmt: skip
def test_a_damaged_config_file_is_refused(text, tmp_path):
    folder = write_folder(tmp_path)
    (folder / "config.json").write_bytes(text)
    assert_refused(folder, r"^config\.json: ")


def test_a_folder_without_config_says_so(tmp_path):
    assert_refused(tmp_path, r"config\.json is missing; expected a folder in Hugging Face layout")
