"""The kinds of model that cannot run here, told by their config or by the names of their tensors, with the next step.

Messages about a field or a tensor that is wrong or missing end with `config_seems` or `tensors_seem`.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from reprlib import repr as short
from typing import Any

UNQUANTISED = "use the model that it was made from, or a GGUF of it"
HEADS = {  # by the end of the first entry of `architectures`, tried in this order
    "ForCausalLM|LMHead(Model)?|DoubleHeadsModel":
        "a text model of an architecture that is not supported: llama.cpp or transformers may run it",
    "For(MaskedLM|PreTraining|TokenClassification|QuestionAnswering)": "an encoder, which does not generate text",
    "ForSequenceClassification|RewardModel": "a classifier, which does not generate text",
    "For(Conditional|Vision\\w*|ImageText\\w*)Generation|ForVision2Seq|ForImageTextToText":
        "a model with an encoder or for several media: pass a text model of type {known}",
    "Model": "a model without an output head, for embeddings: pass one that generates text",
}  # fmt: skip
MERGE = "merge it into its base model with `merge_and_unload` of peft"
MEDIA = "it is a part that reads pictures or sounds: pass the language model that it belongs to"
GGUF_TYPES = {  # `general.type`, other than "model"
    "adapter": f"it is a LoRA adapter: {MERGE}, or with llama-export-lora",
    "imatrix": "it is a matrix of importances: pass the model that llama-quantize makes with it",
    "mmproj": MEDIA,
}
GGUF_ARCHITECTURES = {  # patterns of `general.architecture`, tried in this order
    "clip": MEDIA,
    r".*bert.*|t5encoder": "it is an encoder, which does not generate text",
    ".*": "it is of an architecture that is not supported: llama.cpp may run it",
}
CONFIG_FIELDS = {  # that only configs of other kinds have
    "error": "the error message of a server: download the file again",
    "peft_type": f"the config of a LoRA adapter: {MERGE}",
    "_class_name": "the config of a Diffusers model, which makes pictures: pass a language model",
}
TENSORS = {  # by the end of a tensor's name
    r"qweight|qzeros|g_idx": f"quantised by GPTQ or AWQ: {UNQUANTISED}",
    r"absmax|quant_map|nested_\w+|weight\.quant_state\.\w+": f"quantised by bitsandbytes: {UNQUANTISED}",
    r"weight_(scale|scale_inv|packed|shape|zero_point|global_scale)|input_scale": f"quantised: {UNQUANTISED}",
    r"scales": f"quantised by MLX: {UNQUANTISED}",
    r"lora_[AB](\.default)?\.weight|lora_embedding_[AB]|lora_magnitude_vector": f"those of a LoRA adapter: {MERGE}",
}  # fmt: skip


def config_seems(values: Mapping[str, Any], known: Collection[str]) -> str:
    """Return what a model with these fields is, as the end of a message; empty if that is not known."""
    for field, what in CONFIG_FIELDS.items():
        if field in values:
            return f"; it is {what}"
    architectures = values.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    if not isinstance(first, str):
        other = isinstance(values.get("model_type"), str) and values["model_type"] not in known
        return "; it is a model of a type that is not supported: llama.cpp or transformers may run it" if other else ""
    for end, what in HEADS.items():
        if re.search(rf"(?:{end})$", first[-100:]):
            return f"; {first[:60]!r} is {what.format(known=' or '.join(known))}"
    return ""


def gguf_seems(architecture: Any) -> str:
    """Return what a GGUF file of this architecture is, as the end of a message."""
    if not isinstance(architecture, str):
        return ""
    return next(
        (f"; {what}" for pattern, what in GGUF_ARCHITECTURES.items() if re.fullmatch(pattern, architecture[:100])), ""
    )


def quantisation_seems(settings: Any) -> str:
    """Return by what these weights are quantised, as the end of a message. MLX names no method."""
    method = settings.get("quant_method", "MLX") if isinstance(settings, dict) else "an unknown method"
    return f"; its weights are quantised by {short(method)}: {UNQUANTISED}"


def tensors_seem(names: Iterable[str]) -> str:
    """Return what tensors of these names are, as the end of a message; empty if that is not known."""
    ends = {name[-100:] for name in names}
    for pattern, what in TENSORS.items():
        if any(re.search(rf"(^|\.)({pattern})$", end) for end in ends):
            return f"; its tensors are {what}"
    return ""
