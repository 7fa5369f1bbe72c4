"""The kinds of model that cannot run here, told by their config or by the names of their tensors, with the next step.

Messages about a field or a tensor that is wrong or missing end with `config_seems` or `tensors_seem`.
"""

import re
from collections.abc import Iterable, Mapping
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
TENSORS = {  # by the end of a tensor's name
    r"qweight|qzeros|g_idx": f"quantised by GPTQ or AWQ: {UNQUANTISED}",
    r"absmax|quant_map|nested_\w+|weight\.quant_state\.\w+": f"quantised by bitsandbytes: {UNQUANTISED}",
    r"weight_(scale|scale_inv|packed|shape|zero_point|global_scale)|input_scale": f"quantised: {UNQUANTISED}",
    r"scales": f"quantised by MLX: {UNQUANTISED}",
    r"lora_[AB](\.default)?\.weight|lora_embedding_[AB]|lora_magnitude_vector": "those of a LoRA adapter: merge it "
    "into its base model with `merge_and_unload` of peft",
}  # fmt: skip


def config_seems(values: Mapping[str, Any], known: Iterable[str]) -> str:
    """Return what a model with these fields is, as the end of a message; empty if that is not known."""
    if "error" in values:
        return "; it is the error message of a server: download the file again"
    architectures = values.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    if not isinstance(first, str):
        return ""
    for end, what in HEADS.items():
        if re.search(rf"(?:{end})$", first[-100:]):
            return f"; {first[:60]!r} is {what.format(known=' or '.join(known))}"
    return ""


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
