"""Convert the fields of a `config.json` to a ModelConfig, and refuse by name what would change the result.

A config is untrusted. The type and range of every value are checked before anything is allocated from it. Fields fall
into three groups: those read here; those known not to change inference (`HARMLESS`), which are skipped; and all others,
for which there is one warning. Defaults are those of transformers' configuration classes.
"""

import warnings
from collections.abc import Iterable
from typing import Any

from minillm.config import ModelConfig, RopeParameters
from minillm.loading.fields import Fields
from minillm.loading.generation_config import GENERATION_FIELDS, warn_of_settings
from minillm.loading.model_kinds import config_seems, quantisation_seems
from minillm.support.wording import counted

LLAMA_ENDS = {"bos_token_id": 1, "eos_token_id": 2}
# The values that transformers assumes if a config.json of this model_type omits a field.
DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {"head_dim": None, "num_key_value_heads": None, "max_position_embeddings": 2048, **LLAMA_ENDS},
    "mistral": {"head_dim": None, "num_key_value_heads": 8, "max_position_embeddings": 131_072, **LLAMA_ENDS},
    "qwen2": {"head_dim": None, "num_key_value_heads": 32, "max_position_embeddings": 32_768},
    "qwen3": {"head_dim": 128, "num_key_value_heads": 32, "max_position_embeddings": 32_768},
}
HARMLESS = GENERATION_FIELDS.union(  # those of generation_config.json, which older files have here
    # how the file was made
    "_name_or_path architectures torch_dtype dtype transformers.js_config model_type name_or_path auto_map license "
    "tags unsloth_fixed unsloth_version "
    # training only
    "attention_dropout hidden_dropout embd_pdrop resid_pdrop attn_pdrop dropout initializer_range pretraining_tp "
    "gradient_checkpointing is_llama_config problem_type "
    # how transformers runs or returns things
    "_attn_implementation _attn_implementation_autoset attn_implementation return_dict torchscript use_bfloat16 "
    "tf_legacy_loss chunk_size_feed_forward use_return_dict "
    # ids and labels that this engine reads elsewhere or does not use
    "sep_token_id unk_token_id id2label label2id num_labels tokenizer_class prefix finetuning_task "
    "task_specific_params".split()
)
# Fields that would change the result if they had any other value.
MUST_BE: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swish"),
    "quantization_config": (None,),
    "quantization": (None,),  # MLX's name of it
    "use_mrope": (False, None),
    "is_causal": (True, None),
    "partial_rotary_factor": (None, 1.0),
    "original_max_position_embeddings": (None,),  # belongs in rope_scaling
    "rope_interleaved": (None, False),
    "is_encoder_decoder": (None, False),
    "is_decoder": (None, False, True),
    "add_cross_attention": (None, False),
    "cross_attention_hidden_size": (None,),
    "tie_encoder_decoder": (None, False),
    "pruned_heads": (None, {}),
}
READ_BELOW = frozenset(
    "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim "
    "max_position_embeddings rms_norm_eps tie_word_embeddings rope_theta rope_scaling rope_parameters attention_bias "
    "mlp_bias sliding_window use_sliding_window max_window_layers layer_types bos_token_id eos_token_id".split()
)
LARGEST = {"vocab_size": 2**24, "num_hidden_layers": 10_000, "max_position_embeddings": 2**31}


def read_config(values: Any, source: str = "config.json", generation: Any = None) -> ModelConfig:
    """Return the ModelConfig that these fields describe.

    Args:
        values: the parsed config.json.
        source: the file's name, for messages.
        generation: the parsed generation_config.json, or None; its end-of-sequence ids are added.

    Raises:
        ValueError: a field is missing, has the wrong type, is out of range, or requires something unsupported.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{source}: expected a JSON object of fields, found {type(values).__name__}")
    fields = Fields(values, source)
    model_type = values.get("model_type")
    if not isinstance(model_type, str) or model_type not in DEFAULTS:
        known = sorted(DEFAULTS)
        raise fields.wrong("model_type", f"one of {', '.join(known)}{config_seems(values, known)}")
    _refuse_unsupported(fields, model_type)
    config = _architecture(fields, model_type, _generation_eos(generation))
    _warn_of_unknown(fields, values)
    if generation is not None:
        warn_of_settings(generation, config.max_position_embeddings)
    else:  # transformers reads them from config.json then
        old = {name: value for name, value in values.items() if name in GENERATION_FIELDS}
        warn_of_settings(old, config.max_position_embeddings, source)
    return config


def _architecture(fields: Fields, model_type: str, generation_eos: tuple[int, ...]) -> ModelConfig:
    defaults = DEFAULTS[model_type]
    vocab_size = fields.integer("vocab_size", high=LARGEST["vocab_size"])
    hidden_size = fields.integer("hidden_size")
    layers = fields.integer("num_hidden_layers", high=LARGEST["num_hidden_layers"])
    heads = fields.integer("num_attention_heads")
    kv_heads = _kv_heads(fields, defaults["num_key_value_heads"], heads)
    context = fields.integer(
        "max_position_embeddings", defaults["max_position_embeddings"], high=LARGEST["max_position_embeddings"]
    )
    attention_bias, mlp_bias = _biases(fields, model_type)
    bos, eos = _begin_and_ends(fields, defaults, vocab_size, generation_eos)
    return ModelConfig(
        model_type=model_type,
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=fields.integer("intermediate_size", high=2**22),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=_head_dim(fields, defaults["head_dim"], hidden_size, heads),
        max_position_embeddings=context,
        rms_norm_eps=fields.number("rms_norm_eps", 1e-6),
        tie_word_embeddings=fields.boolean("tie_word_embeddings"),
        rope=_rope(fields, context),
        attention_bias=attention_bias,
        attention_output_bias=attention_bias and model_type != "qwen2",
        mlp_bias=mlp_bias,
        qk_norm=model_type == "qwen3",
        sliding_windows=_sliding_windows(fields, model_type, layers),
        bos_token_id=bos,
        eos_token_ids=eos,
    )


def _kv_heads(fields: Fields, default: int | None, heads: int) -> int:
    """Return the number of key heads. An omitted field means the model type's default, null the number of heads."""
    if fields.get("num_key_value_heads", default) is None:
        return heads
    kv_heads = fields.integer("num_key_value_heads", default)
    if heads % kv_heads:
        raise fields.wrong("num_key_value_heads", f"a divisor of num_attention_heads {heads}")
    return kv_heads


def _biases(fields: Fields, model_type: str) -> tuple[bool, bool]:
    """Return whether attention and the MLP have biases. Only Llama allows both; Qwen2's q, k and v always have one."""
    attention_bias, mlp_bias = fields.boolean("attention_bias"), fields.boolean("mlp_bias")
    if attention_bias and model_type == "mistral":
        raise fields.wrong("attention_bias", "false in a mistral model")
    if mlp_bias and model_type != "llama":
        raise fields.wrong("mlp_bias", f"false in a {model_type} model")
    return model_type == "qwen2" or attention_bias, mlp_bias


def _begin_and_ends(
    fields: Fields, defaults: dict[str, Any], vocab_size: int, generation_eos: tuple[int, ...]
) -> tuple[int | None, tuple[int, ...]]:
    """Return the token that begins a sequence, and the tokens that end one, from both files."""
    bos, eos = (fields.token_ids(name, vocab_size) for name in ("bos_token_id", "eos_token_id"))
    if generation_eos and max(generation_eos) >= vocab_size:
        raise ValueError(f"generation_config.json: eos_token_id is {max(generation_eos)}; vocab_size is {vocab_size}")
    if "bos_token_id" in defaults and "bos_token_id" not in fields.values:
        bos = (defaults["bos_token_id"],)
    if "eos_token_id" in defaults and "eos_token_id" not in fields.values and not generation_eos:
        eos = (defaults["eos_token_id"],)
    return bos[0] if bos else None, tuple(dict.fromkeys(eos + generation_eos))


def _head_dim(fields: Fields, default: int | None, hidden_size: int, heads: int) -> int:
    if default is None and fields.get("head_dim") is None and hidden_size % heads:
        raise fields.wrong("hidden_size", f"a multiple of num_attention_heads {heads}, since head_dim is not given")
    head_dim = fields.integer("head_dim", default or hidden_size // heads)
    if head_dim % 2:
        raise ValueError(f"{fields.source}: head_dim is {head_dim}; expected an even number, since RoPE rotates pairs")
    return head_dim


def _rope(fields: Fields, context: int) -> RopeParameters:
    """Read `rope_theta` and `rope_scaling` (transformers 4) or `rope_parameters` (transformers 5)."""
    old, new = fields.get("rope_scaling"), fields.get("rope_parameters")
    if old and new and old != new:
        raise fields.wrong("rope_scaling", "the same as rope_parameters, or only one of the two")
    name = "rope_scaling" if old else "rope_parameters"
    given = old or new or {}
    if not isinstance(given, dict) or any(isinstance(value, dict) for value in given.values()):
        raise fields.wrong(name, "one flat object such as {'rope_type': 'llama3', ...} for all layers")
    theta = fields.number("rope_theta", 10_000.0) if fields.get("rope_theta") is not None else 10_000.0
    return _rope_parameters(Fields(given, f"{fields.source}: {name}"), theta, context)


def _rope_parameters(rope: Fields, theta: float, context: int) -> RopeParameters:
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    known: dict[str, Any] = {"rope_theta": rope.number("rope_theta", theta), "rope_type": rope_type}
    if rope.get("partial_rotary_factor", 1.0) not in (None, 1.0):
        raise rope.wrong("partial_rotary_factor", "1.0, the only one supported")
    if rope_type not in ("default", "linear", "llama3"):
        raise rope.wrong("rope_type" if "rope_type" in rope.values else "type", "default, linear or llama3")
    if rope_type != "default":
        known["factor"] = rope.number("factor")
    if rope_type == "llama3":
        known["low_freq_factor"] = rope.number("low_freq_factor")
        known["high_freq_factor"] = rope.number("high_freq_factor", low=known["low_freq_factor"])
        known["original_max_position_embeddings"] = rope.integer(
            "original_max_position_embeddings", context, high=LARGEST["max_position_embeddings"]
        )
    without_effect = {"type", "factor", "original_max_position_embeddings"}  # some files have them for all types
    _warn_of_unknown(rope, rope.values.keys() - without_effect)
    return RopeParameters(**known)


def _sliding_windows(fields: Fields, model_type: str, layers: int) -> tuple[int | None, ...]:
    """Return the window of each layer. In Mistral, all layers have one, or none. In Qwen, some have one.

    A Qwen config lists each layer's kind in `layer_types`, or `max_window_layers` is the first layer with a window.
    """
    fields.used.update(("sliding_window", "use_sliding_window", "max_window_layers", "layer_types"))
    if model_type == "llama":
        if fields.values.get("sliding_window") is not None:
            raise fields.wrong("sliding_window", "null: a model of type llama does not have one")
        types = ["full_attention"] * layers
    elif model_type == "mistral":
        full = fields.get("sliding_window", 4096) is None
        types = ["full_attention" if full else "sliding_attention"] * layers
    else:
        first = fields.integer("max_window_layers", 28, low=0)
        on = fields.boolean("use_sliding_window") and fields.get("sliding_window", 4096) is not None
        types = ["sliding_attention" if on and i >= first else "full_attention" for i in range(layers)]
    given = fields.values.get("layer_types")
    if given is not None and model_type in ("qwen2", "qwen3"):
        types = given
    elif given is not None and given != types:
        raise fields.wrong("layer_types", f"only {types[0]} in a {model_type} model")
    if not isinstance(types, list) or len(types) != layers:
        raise fields.wrong("layer_types", f"a list of {counted(layers, 'entry', 'entries')}, one for each layer")
    if not all(kind in ("full_attention", "sliding_attention") for kind in types):
        raise fields.wrong("layer_types", "full_attention or sliding_attention for each layer")
    if "sliding_attention" not in types:
        return (None,) * layers
    if model_type != "mistral" and not fields.boolean("use_sliding_window"):
        raise fields.wrong("layer_types", "no sliding_attention while use_sliding_window is false")
    if fields.get("sliding_window", 4096) is None:
        raise fields.wrong("sliding_window", "a number of tokens, since layer_types has sliding_attention")
    window = fields.integer("sliding_window", 4096, high=LARGEST["max_position_embeddings"])
    return tuple(window if kind == "sliding_attention" else None for kind in types)


def _generation_eos(generation: Any) -> tuple[int, ...]:
    if generation is None:
        return ()
    if not isinstance(generation, dict):
        raise ValueError("generation_config.json: expected a JSON object of fields")
    return Fields(generation, "generation_config.json").token_ids("eos_token_id", LARGEST["vocab_size"])


def _refuse_unsupported(fields: Fields, model_type: str) -> None:
    for name, allowed in MUST_BE.items():
        if fields.get(name, allowed[0]) not in allowed:
            kind = quantisation_seems(fields.values[name]) if name.startswith("quantization") else ""
            raise fields.wrong(name, f"{allowed[0]!r}, the only one supported{kind}")
    expected = f"{model_type.capitalize()}ForCausalLM"  # predicts the next token; a classifier has a different head
    architectures = fields.values.get("architectures") or [expected]
    first = architectures[0] if isinstance(architectures, list) else None
    if not isinstance(first, str) or first.lower() != expected.lower():
        raise fields.wrong("architectures", f"[{expected!r}]{config_seems(fields.values, [model_type])}")


def _warn_of_unknown(fields: Fields, names: Iterable[str]) -> None:
    unknown = sorted(set(names) - fields.used - HARMLESS - READ_BELOW)
    if unknown:
        shown = ", ".join(repr(name)[:60] for name in unknown[:8])
        warnings.warn(f"{fields.source}: unknown fields are ignored: {shown}", stacklevel=4)
