"""Turn the fields of a `config.json` into a ModelConfig, and refuse by name what would change the result.

A config comes from a stranger. Every value is checked for type and range before anything is allocated from it. Fields
fall into three groups: those read here; those known not to change inference (`HARMLESS`), which are skipped; and the
rest, which get one warning. Defaults are those of transformers' configuration classes.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minillm.config import ModelConfig, RopeParameters

# What transformers assumes when a config.json of this model_type leaves a field out.
DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {"head_dim": None, "num_key_value_heads": None, "max_position_embeddings": 2048},
    "mistral": {"head_dim": None, "num_key_value_heads": 8, "max_position_embeddings": 131_072},
    "qwen2": {"head_dim": None, "num_key_value_heads": 32, "max_position_embeddings": 32_768},
    "qwen3": {"head_dim": 128, "num_key_value_heads": 32, "max_position_embeddings": 32_768},
}
HARMLESS = frozenset(
    # how the file was made
    "_name_or_path architectures transformers_version torch_dtype dtype transformers.js_config model_type name_or_path "
    "_commit_hash auto_map license tags "
    # training only
    "attention_dropout hidden_dropout embd_pdrop resid_pdrop attn_pdrop dropout initializer_range pretraining_tp "
    "gradient_checkpointing is_llama_config problem_type "
    # how transformers runs or returns things
    "use_cache _attn_implementation _attn_implementation_autoset attn_implementation output_attentions "
    "output_hidden_states return_dict return_dict_in_generate torchscript use_bfloat16 tf_legacy_loss output_scores "
    "chunk_size_feed_forward use_return_dict "
    # ids and labels that this engine takes from elsewhere or does not use
    "pad_token_id sep_token_id unk_token_id decoder_start_token_id forced_bos_token_id forced_eos_token_id id2label "
    "label2id num_labels tokenizer_class prefix finetuning_task task_specific_params bad_words_ids "
    "suppress_tokens begin_suppress_tokens "
    # old settings of generate(), which belong to generation_config.json
    "max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k "
    "top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size "
    "num_return_sequences exponential_decay_length_penalty remove_invalid_values".split()
)
# Fields that would change the result if they had any other value.
MUST_BE: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swish"),
    "quantization_config": (None,),
    "partial_rotary_factor": (None, 1.0),
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


@dataclass
class Fields:
    """Typed reads from untrusted JSON: each returns a checked value or raises a ValueError that names the field."""

    values: Mapping[str, Any]
    source: str
    used: set[str] = field(default_factory=set)

    def wrong(self, name: str, expected: str) -> ValueError:
        """The error for this field."""
        shown = repr(self.values.get(name))
        return ValueError(f"{self.source}: {name} is {shown[:80]}; expected {expected}")

    def get(self, name: str, default: Any = None) -> Any:
        """The raw value; the field counts as known from now on."""
        self.used.add(name)
        return self.values.get(name, default)

    def integer(self, name: str, default: int | None = None, low: int = 1, high: int = 2**20) -> int:
        """A whole number in a range; null is the default."""
        value = self.get(name, default)
        value = default if value is None else value
        if type(value) is not int or not low <= value <= high:
            raise self.wrong(name, f"a whole number from {low} to {high}")
        return value

    def number(self, name: str, default: float | None = None, low: float = 0.0) -> float:
        """A finite number above `low`."""
        value = self.get(name, default)
        if type(value) not in (int, float) or not math.isfinite(value) or not low < value < 1e30:
            raise self.wrong(name, f"a finite number above {low:g}")
        return float(value)

    def boolean(self, name: str, default: bool = False) -> bool:
        """true or false."""
        value = self.get(name, default)
        if type(value) is not bool:
            raise self.wrong(name, "true or false")
        return value

    def token_ids(self, name: str, vocab_size: int) -> tuple[int, ...]:
        """No, one or several token ids."""
        value = self.get(name)
        ids = [] if value is None else value if isinstance(value, list) else [value]
        if not all(type(i) is int and 0 <= i < vocab_size for i in ids):
            raise self.wrong(name, f"a token id below vocab_size {vocab_size}, or a list of them")
        return tuple(ids)


def read_config(values: Any, source: str = "config.json", generation: Any = None) -> ModelConfig:
    """The ModelConfig that these fields describe.

    Args:
        values: the parsed config.json.
        source: the file's name, for messages.
        generation: the parsed generation_config.json, if there is one; its end-of-sequence ids are added.

    Raises:
        ValueError: a field is missing, has the wrong type, is out of range, or asks for something unsupported.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{source}: expected a JSON object of fields, found {type(values).__name__}")
    fields = Fields(values, source)
    model_type = values.get("model_type")
    if not isinstance(model_type, str) or model_type not in DEFAULTS:
        raise fields.wrong("model_type", f"one of {', '.join(sorted(DEFAULTS))}")
    _refuse_unsupported(fields)
    config = _shape(fields, model_type, _generation_eos(generation, values, source))
    _warn_of_unknown(fields)
    return config


def _shape(fields: Fields, model_type: str, extra_eos: tuple[int, ...]) -> ModelConfig:
    defaults = DEFAULTS[model_type]
    vocab_size = fields.integer("vocab_size", high=LARGEST["vocab_size"])
    hidden_size = fields.integer("hidden_size")
    layers = fields.integer("num_hidden_layers", high=LARGEST["num_hidden_layers"])
    heads = fields.integer("num_attention_heads")
    kv_heads = fields.integer("num_key_value_heads", defaults["num_key_value_heads"] or heads)
    if heads % kv_heads:
        raise fields.wrong("num_key_value_heads", f"a divisor of num_attention_heads {heads}")
    context = fields.integer(
        "max_position_embeddings",
        defaults["max_position_embeddings"],
        high=LARGEST["max_position_embeddings"],
    )
    bos = fields.token_ids("bos_token_id", vocab_size)
    eos = fields.token_ids("eos_token_id", vocab_size)
    if extra_eos and max(extra_eos) >= vocab_size:
        raise ValueError(f"generation_config.json: eos_token_id is {max(extra_eos)}; vocab_size is {vocab_size}")
    attention_bias = model_type == "qwen2" or fields.boolean("attention_bias")
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
        mlp_bias=model_type == "llama" and fields.boolean("mlp_bias"),
        qk_norm=model_type == "qwen3",
        sliding_windows=_sliding_windows(fields, model_type, layers),
        bos_token_id=bos[0] if bos else None,
        eos_token_ids=tuple(dict.fromkeys(eos + extra_eos)),
    )


def _head_dim(fields: Fields, default: int | None, hidden_size: int, heads: int) -> int:
    if fields.get("head_dim", default) is None and hidden_size % heads:
        raise fields.wrong("hidden_size", f"a multiple of num_attention_heads {heads}, since head_dim is not given")
    head_dim = fields.integer("head_dim", default or hidden_size // heads)
    if head_dim % 2:
        raise ValueError(f"{fields.source}: head_dim is {head_dim}; expected an even number, RoPE turns pairs")
    return head_dim


def _rope(fields: Fields, context: int) -> RopeParameters:
    """`rope_theta` + `rope_scaling` (transformers 4) or `rope_parameters` (transformers 5)."""
    theta = fields.number("rope_theta", 10_000.0) if fields.get("rope_theta") is not None else 10_000.0
    scaling = fields.get("rope_scaling") or fields.get("rope_parameters") or {}
    fields.used.add("rope_parameters")
    if not isinstance(scaling, dict):
        raise fields.wrong("rope_scaling", "an object such as {'rope_type': 'llama3', ...}")
    inner = Fields(scaling, f"{fields.source}: rope_scaling")
    rope_type = inner.get("rope_type", inner.get("type", "default"))
    inner.used.add("type")
    known = {"rope_theta": inner.number("rope_theta", theta), "rope_type": rope_type}
    if inner.get("partial_rotary_factor", 1.0) not in (None, 1.0):
        raise inner.wrong("partial_rotary_factor", "1.0, the only one supported")
    if rope_type not in ("default", "linear", "llama3"):
        raise inner.wrong("rope_type", "default, linear or llama3, the supported ones")
    if rope_type == "default":
        _warn_of_unknown(inner, scaling.keys() - {"factor"})
        return RopeParameters(**known)
    known["factor"] = inner.number("factor")
    if rope_type == "llama3":
        known["low_freq_factor"] = inner.number("low_freq_factor")
        known["high_freq_factor"] = inner.number("high_freq_factor", low=known["low_freq_factor"])
        known["original_max_position_embeddings"] = inner.integer(
            "original_max_position_embeddings", context, high=LARGEST["max_position_embeddings"]
        )
    inner.used.add("original_max_position_embeddings")  # some files state it for "linear" too, where it has no effect
    _warn_of_unknown(inner, scaling.keys())
    return RopeParameters(**known)


def _sliding_windows(fields: Fields, model_type: str, layers: int) -> tuple[int | None, ...]:
    """The window of each layer. Mistral: all or none. Qwen: those that `layer_types` or `max_window_layers` name."""
    fields.used.update(("sliding_window", "use_sliding_window", "max_window_layers", "layer_types"))
    if model_type == "llama":
        if fields.values.get("sliding_window") is not None:
            raise fields.wrong("sliding_window", "null: a model of type llama has none")
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
        raise fields.wrong("layer_types", f"nothing else than {types[0]} in a {model_type} model")
    if not isinstance(types, list) or len(types) != layers:
        raise fields.wrong("layer_types", f"a list of {layers} entries, one for each layer")
    if not all(kind in ("full_attention", "sliding_attention") for kind in types):
        raise fields.wrong("layer_types", "full_attention or sliding_attention for each layer")
    if "sliding_attention" not in types:
        return (None,) * layers
    if model_type != "mistral" and not fields.boolean("use_sliding_window"):
        raise fields.wrong("layer_types", "no sliding_attention while use_sliding_window is false")
    window = fields.integer("sliding_window", 4096, high=LARGEST["max_position_embeddings"])
    return tuple(window if kind == "sliding_attention" else None for kind in types)


def _generation_eos(generation: Any, values: Mapping[str, Any], source: str) -> tuple[int, ...]:
    if generation is None:
        return ()
    if not isinstance(generation, dict):
        raise ValueError("generation_config.json: expected a JSON object of fields")
    return Fields(generation, "generation_config.json").token_ids("eos_token_id", LARGEST["vocab_size"])


def _refuse_unsupported(fields: Fields) -> None:
    for name, allowed in MUST_BE.items():
        if fields.get(name, allowed[0]) not in allowed:
            raise fields.wrong(name, f"{allowed[0]!r}, the only one supported")
    architectures = fields.values.get("architectures") or ["ForCausalLM"]
    if not isinstance(architectures, list) or not str(architectures[0]).endswith("ForCausalLM"):
        raise fields.wrong("architectures", "a model that ends in ForCausalLM, one that predicts the next token")


def _warn_of_unknown(fields: Fields, names: Any = None) -> None:
    names = fields.values.keys() if names is None else names
    unknown = sorted(set(names) - fields.used - HARMLESS - READ_BELOW)
    if unknown:
        shown = ", ".join(repr(name)[:60] for name in unknown[:8])
        warnings.warn(f"{fields.source}: unknown fields are ignored: {shown}", stacklevel=4)
