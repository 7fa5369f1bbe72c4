"""Settle what a config leaves open: the names of a file's tensors say which optional parts a model has.

Optional are each bias by itself, the norms of q and k, the output head, the embedding of a tied model, and what all
names begin with. The file decides. Where the config says something else, one warning tells so. What neither decides
stays as the config says, and `build` refuses it by name. Afterwards the config and the names agree, so `build`,
`reference.forward` and the estimates see the same model.

Peers: transformers unties a stored head that differs, ties the embedding to a head alone, and takes zeros for a missing
bias (`tie_weights`, `_load_pretrained_model`); in llama.cpp each bias is optional (`llama-model.cpp`).
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.config import ModelConfig, RopeParameters
from minillm.layers import rope_frequencies
from minillm.loading.checkpoint import StoredTensor
from minillm.loading.stored import in_tiles
from minillm.support.wording import counted

Tensors = dict[str, StoredTensor]
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
GROUPS = (  # optional tensors of a layer and the fields of ModelConfig that say whether it has them, asked for together
    {"self_attn.q_proj.bias": "attention_bias", "self_attn.k_proj.bias": "attention_bias",
     "self_attn.v_proj.bias": "attention_bias", "self_attn.o_proj.bias": "attention_output_bias"},
    {"mlp.gate_proj.bias": "mlp_bias", "mlp.up_proj.bias": "mlp_bias", "mlp.down_proj.bias": "mlp_bias"},
    {"self_attn.q_norm.weight": "qk_norm", "self_attn.k_norm.weight": "qk_norm"},
)  # fmt: skip


def settle(config: ModelConfig, stored: Mapping[str, StoredTensor], source: str) -> tuple[ModelConfig, Tensors]:
    """Return the config and the tensors by their usual names, so that both say the same.

    Args:
        config: what the file's fields say.
        stored: the file's tensors, by the names that they have there.
        source: the file whose fields may disagree, for the warning; empty if it has no fields for optional parts.
    """
    tensors, doubts = usual_names(stored), []
    if config.tie_word_embeddings and HEAD in tensors and not _tied(tensors):
        doubts.append(f"tie_word_embeddings is true, but {HEAD} differs from {EMBEDDING}")
        config = replace(config, tie_word_embeddings=False)
    for group in GROUPS:
        layers = {part: _layers_with(part, tensors, config) for part in group}
        doubts += _doubts(config, layers, source)
        if any(layers.values()):
            config = _with_what_is_stored(config, group, layers)
    if doubts:
        warnings.warn(f"{source or 'tensors'}: {'; '.join(doubts)}: what is stored is used", stacklevel=5)
    return config, {name: tensor for name, tensor in tensors.items() if not _follows_from(config, name, tensor)}


def _with_what_is_stored(config: ModelConfig, group: Mapping[str, str], layers: Mapping[str, int]) -> ModelConfig:
    """Return the config with the fields of this group as the file has it."""
    fields: dict[str, Any] = dict.fromkeys(group.values(), False)
    fields |= {field: True for part, field in group.items() if layers[part]}
    return replace(config, **fields)


def _tied(tensors: Tensors) -> bool:
    """Return whether the stored head can be the embedding; if so, leave only the embedding."""
    embedding = tensors.setdefault(EMBEDDING, tensors[HEAD])
    if _equal(tensors[HEAD], embedding):
        del tensors[HEAD]
    return HEAD not in tensors


def usual_names(stored: Mapping[str, StoredTensor]) -> Tensors:
    """Return the tensors with "model." in place of what the layers' names begin with, if that is clear.

    The head stands next to the layers or one level above: `language_model.lm_head` belongs to `language_model.model.`.
    """
    layer = (re.fullmatch(r"(|.*\.)layers\.0\.input_layernorm\.weight", name, re.DOTALL) for name in stored)
    begins = {found[1] for found in layer if found}
    if len(begins) != 1 or begins == {"model."}:
        return dict(stored)
    (begin,) = begins
    head = {f"{begin}{HEAD}", f"{begin.removesuffix('model.')}{HEAD}", HEAD} & stored.keys()
    ours = re.compile(rf"{re.escape(begin)}(?=(?:layers|embed_tokens|norm|rotary_emb)\.)")
    names = {name: ours.sub("model.", name, 1) for name in stored if ours.match(name)}
    names |= dict.fromkeys(head, HEAD) if len(head) == 1 else {}
    taken = stored.keys() - names.keys()
    return {name if (new := names.get(name, name)) in taken else new: tensor for name, tensor in stored.items()}


def group_of(part: str) -> Mapping[str, str]:
    """Return the optional tensors that are asked for together with this one, and their fields of ModelConfig."""
    return next((group for group in GROUPS if part in group), {})


def reason(config: ModelConfig, part: str) -> str:
    """Return why a model has an optional tensor, or why not: the config's field and its value."""
    field = group_of(part).get(part)
    if field is None:
        return f"tie_word_embeddings is {str(config.tie_word_embeddings).lower()}" if part in (HEAD, EMBEDDING) else ""
    has = getattr(config, field)
    if field == "qk_norm" or (config.model_type == "qwen2" and field != "mlp_bias"):
        return f"a model of type {config.model_type} {'has' if has else 'does not have'} it"
    return f"{field.replace('_output', '')} is {str(has).lower()}"


def _layers_with(part: str, tensors: Tensors, config: ModelConfig) -> int:
    return sum(f"model.layers.{number}.{part}" in tensors for number in range(config.num_hidden_layers))


def _doubts(config: ModelConfig, layers: Mapping[str, int], source: str) -> list[str]:
    """Return what the file has and the config denies, and the reverse; nothing if the file has none of this group.

    Args:
        config: what the fields say.
        layers: in how many layers each part of the group is stored.
        source: empty if the file has no such fields.
    """
    doubts: dict[str, list[str]] = {}
    told = [part for part, count in layers.items() if (count or _is_bias(part)) and source and any(layers.values())]
    for part in told:
        if bool(layers[part]) != getattr(config, group_of(part)[part]):
            has = "the file has" if layers[part] else "the file has no"
            doubts.setdefault(f"{has} %s, but {reason(config, part)}", []).append(part)
    lines = [line % ", ".join(parts) for line, parts in doubts.items()]
    some = [part for part, count in layers.items() if 0 < count < config.num_hidden_layers and _is_bias(part)]
    return lines + [f"{part} is in {layers[part]} of {counted(config.num_hidden_layers, 'layer')}" for part in some]


def _is_bias(part: str) -> bool:
    return part.endswith(".bias")


def _equal(one: StoredTensor, other: StoredTensor) -> bool:
    """Compare a few rows at a time: neither is ever in memory whole. What cannot be an embedding is not read."""
    if one is other or one.shape != other.shape:
        return one is other
    if len(one.shape) != 2 or 0 in one.shape:  # its shape is refused later, by the name of the embedding
        return True
    pairs = zip(in_tiles(one), in_tiles(other), strict=True)
    return all(np.array_equal(rows.read(), others.read(), equal_nan=True) for rows, others in pairs)


def _follows_from(config: ModelConfig, name: str, tensor: StoredTensor) -> bool:
    """Return whether this tensor repeats what the config says: the frequencies of RoPE, perhaps rounded to a half."""
    if not name.endswith("rotary_emb.inv_freq") or tuple(tensor.shape) != (config.head_dim // 2,):
        return False
    try:
        values = tensor.read()
    except ValueError:  # its type is not a float
        return False
    unscaled = RopeParameters(config.rope.rope_theta)
    return any(_near(values, rope_frequencies(rope, config.head_dim)) for rope in (unscaled, config.rope))


def _near(values: Array, expected: Array) -> bool:
    return bool(np.allclose(values, expected, rtol=1e-2, atol=1e-6))
