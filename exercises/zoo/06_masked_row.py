"""A token does not see itself, so the first token sees nothing, and its softmax is 0 / 0."""

import numpy as np

import minillm
from minillm.support.wording import counted

ENGINE = "former"
KIND = "causal mask"
THREAD = "https://github.com/pbloem/former/issues/10"
TITLE = "Issue with masking"
SEEN = "All outputs are NaN, from the first token on."
CAUSE = """
The mask hid the diagonal, because the offset of `triu` was 0 instead of 1 in the text of the tutorial. A row whose
scores are all minus infinity has no softmax.
"""
PROPERTY = "prefill_is_naive"
MODULE, FUNCTION = "minillm.attention", "causal_mask"
PATCH = [("visible = key_position <= query_position", "visible = key_position < query_position")]


def answer(model):
    logits = minillm.forward(model, model.tokenizer.encode("The capital of France is"))
    return [f"{int(np.isfinite(logits).all(axis=-1).sum())} of {counted(len(logits), 'token')} have finite logits"]
