"""The angles of RoPE are rounded to bfloat16."""

import minillm
from minillm.support.wording import counted

ENGINE = "transformers"
KIND = "RoPE"
THREAD = "https://github.com/huggingface/transformers/pull/29285"
TITLE = "RoPE loses precision for Llama / Gemma + Gemma logits.float()"
SEEN = "Short prompts look right. The longer the text, the worse it becomes, and the loss in training stays too high."
CAUSE = """
Autocast multiplied positions and frequencies in bfloat16. A number in bfloat16 has 8 significant bits, so from
position 256 on not even the integers are exact.
"""
PROPERTY = "prefill_is_naive"
MODULE, FUNCTION = "minillm.layers", "rope_cos_sin"
PATCH = [
    (
        "    return np.cos(angles)[:, None], np.sin(angles)[:, None]\n",
        "    bits = angles.astype(np.float32).view(np.uint32)\n"
        "    angles = (bits + 0x8000 & 0xFFFF0000).view(np.float32)  # 8 significant bits\n"
        "    return np.cos(angles)[:, None], np.sin(angles)[:, None]\n",
    )
]


def answer(model):
    lines = []
    for repeats in (1, 30):
        prompt = "One day Tom went to the park. He saw a dog. " * repeats + "The dog said"
        read = counted(len(model.tokenizer.encode(prompt)), "token")
        lines.append(f"after {read}: {minillm.generate(model, prompt, 12).text!r}")
    return lines
