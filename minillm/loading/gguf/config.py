"""Convert the metadata of a GGUF file to the fields of a config.json, with Hugging Face's names.

One warning lists the architecture's keys that are neither read here nor known to have no effect, as for unknown fields
of a config.json. Sources: ggml's docs/gguf.md; llama.cpp's llama-model.cpp, for the meaning of a missing key.
"""

import warnings
from collections.abc import Mapping
from reprlib import repr as short  # short for values of any size and depth
from typing import Any

import numpy as np

from minillm.loading.gguf.special_ids import end_ids, special_id, warn_of_bad_ids
from minillm.loading.model_kinds import GGUF_TYPES, gguf_seems
from minillm.loading.read_config import DEFAULTS

READ = frozenset(
    "vocab_size context_length embedding_length feed_forward_length block_count attention.head_count "
    "attention.head_count_kv attention.key_length attention.value_length attention.layer_norm_rms_epsilon "
    "attention.sliding_window attention.causal rope.dimension_count rope.freq_base rope.scaling.type "
    "rope.scaling.factor rope.scaling.attn_factor rope.scale_linear expert_count".split()
)
WITHOUT_EFFECT = frozenset(
    "attention.layer_norm_epsilon tensor_data_layout pooling_type use_parallel_residual expert_used_count "
    "rope.scaling.original_context_length rope.scaling.finetuned".split()
)


def config_fields(metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], source: str) -> dict[str, Any]:
    """Return the metadata as the fields of a config.json.

    Args:
        metadata: all metadata, by key.
        shapes: the shapes of the tensors, `(in, out)`, by their GGUF names.
        source: the file's name, for messages.

    Raises:
        ValueError: the file requires something unsupported that would change the result.
    """
    if metadata.get("split.count", 1) not in (0, 1):
        files = short(metadata["split.count"])
        raise ValueError(f"{source}: is one of {files} split files; join them with llama-gguf-split --merge")
    kind = metadata.get("general.type")
    if isinstance(kind, str) and kind in GGUF_TYPES:
        raise ValueError(f"{source}: general.type is {kind!r}; expected 'model'; {GGUF_TYPES[kind]}")
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in DEFAULTS:
        expected = ", ".join(sorted(DEFAULTS))
        raise ValueError(
            f"{source}: general.architecture is {short(architecture)}; expected one of {expected}"
            f"{gguf_seems(architecture)}"
        )
    prefix = f"{architecture}."
    own = {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}
    _refuse_unsupported(metadata, own, shapes, source)
    if unknown := sorted(own.keys() - READ - WITHOUT_EFFECT):
        shown = ", ".join(repr(prefix + name)[:60] for name in unknown[:8])
        warnings.warn(f"{source}: unknown metadata is ignored: {shown}", stacklevel=5)
    sizes = _sizes(own, shapes)
    tokens = _tokens(metadata, sizes.get("vocab_size"), source)
    return sizes | tokens | _variant(architecture, own, shapes) | _rope_scaling(own)


def _sizes(own: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the sizes. A missing key has the default of the architecture, except the norm's epsilon: it has none."""
    heads = own.get("attention.head_count")
    fields = {
        "vocab_size": own.get("vocab_size", shapes.get("token_embd.weight", (None,))[-1]),
        "hidden_size": own.get("embedding_length"),
        "intermediate_size": own.get("feed_forward_length"),
        "num_hidden_layers": own.get("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": own.get("attention.head_count_kv", heads),
        "head_dim": own.get("attention.key_length", own.get("rope.dimension_count")),
        "max_position_embeddings": own.get("context_length"),
        "rope_theta": own.get("rope.freq_base"),
    }
    given = {name: value for name, value in fields.items() if value is not None}
    return given | {"rms_norm_eps": _decimal(own.get("attention.layer_norm_rms_epsilon"))}


def _decimal(value: Any) -> Any:
    """Return the shortest decimal that rounds to this float32: 9.9999997e-06 was written as 1e-05."""
    if type(value) is not float:
        return value
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return float(str(single)) if single == value else value


def _tokens(metadata: Mapping[str, Any], vocab_size: Any, source: str) -> dict[str, Any]:
    if type(vocab_size) is not int:
        return {}  # it is refused as it is read
    warn_of_bad_ids(metadata, vocab_size, source)
    return {"bos_token_id": special_id(metadata, "bos", vocab_size), "eos_token_id": end_ids(metadata, vocab_size)}


def _variant(architecture: str, own: Mapping[str, Any], shapes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model type, what the tensors show, and the window. llama.cpp calls a Mistral `llama`."""
    fields: dict[str, Any] = {"model_type": architecture, "tie_word_embeddings": "output.weight" not in shapes}
    window = own.get("attention.sliding_window") or None
    if architecture == "mistral" or (architecture == "llama" and window):
        fields |= {"model_type": "mistral", "sliding_window": window}
    return fields


def _rope_scaling(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the RoPE scaling. A factor without a type is linear, also under the older name `scale_linear`."""
    factor = own.get("rope.scaling.factor", own.get("rope.scale_linear"))
    kind = own.get("rope.scaling.type", "none" if factor in (None, 0.0) else "linear")
    return {} if kind == "none" else {"rope_scaling": {"rope_type": kind, "factor": factor}}


def _refuse_unsupported(
    metadata: Mapping[str, Any], own: Mapping[str, Any], shapes: Mapping[str, Any], source: str
) -> None:
    architecture, head_dim = metadata["general.architecture"], own.get("attention.key_length")
    fine_if_expected = {
        "expert_count": (not own.get("expert_count"), "0: mixtures of experts are not supported"),
        "attention.causal": (own.get("attention.causal", True) is True, "true"),
        "rope.dimension_count": (
            head_dim is None or "rope.dimension_count" not in own or own["rope.dimension_count"] == head_dim,
            f"attention.key_length, {short(head_dim)}: RoPE on a part of a head is not supported",
        ),
        "rope.scaling.attn_factor": (own.get("rope.scaling.attn_factor", 1.0) == 1.0, "1.0, the only one supported"),
        "attention.sliding_window": (
            not own.get("attention.sliding_window") or architecture in ("llama", "mistral"),
            f"none: a {architecture} file does not say which layers have a window",
        ),
    }
    for name, (fine, expected) in fine_if_expected.items():
        if not fine:
            raise ValueError(f"{source}: {architecture}.{name} is {short(own[name])}; expected {expected}")
    if "blk.0.attn_qkv.weight" in shapes:
        raise ValueError(
            f"{source}: blk.0.attn_qkv.weight: expected q, k and v as separate tensors; convert without --fuse-qkv"
        )
