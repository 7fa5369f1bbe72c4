"""Queries and keys are not normalised before RoPE."""

import numpy as np

ENGINE = "aprender"
KIND = "norm of queries and keys"
THREAD = "https://github.com/paiml/aprender/pull/1228"
TITLE = """
fix(aprender-serve): M32d Step 5 — apply per-head Q/K RMSNorm in forward_qwen3_moe (GH-279) — gibberish → coherent
English
"""
SEEN = "Qwen3-Coder answers %%%%%%%% to every prompt. Other models are right."
CAUSE = """
Qwen3 normalises each head of the queries and keys before it rotates them. The code for dense models did so, but the
code for the mixture of experts was written without it.
"""
PROPERTY = "prefill_is_naive"
MODULE, FUNCTION = "minillm.backends.plain", "Plain.norm_rope"
PATCH = [("return self.rope(self.rms_norm(x, weight, eps), cos_sin)", "return self.rope(x, cos_sin)")]


def answer(model):
    heads = np.full((1, 2, 4), 100.0)  # story has no such norm: this is the function itself
    no_rotation = np.ones((1, 1, 2)), np.zeros((1, 1, 2))
    normed = model.ops.norm_rope(heads, np.ones((2, 4)), 0.0, no_rotation)
    return [f"a head of numbers {heads[0, 0, 0]:.0f} becomes one of numbers {normed[0, 0, 0]:.0f}"]
