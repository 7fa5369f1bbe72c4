"""Top-p keeps one token too few."""

import numpy as np

import minillm
from minillm.sampling import probabilities
from minillm.support.wording import counted

ENGINE = "llama.cpp"
KIND = "top-p"
THREAD = "https://github.com/ggml-org/llama.cpp/pull/1953"
TITLE = "Fix top-p sampling to match the canonical definition"
SEEN = "Answers vary less than top-p promises. A question with two likely answers always gets the same one."
CAUSE = """
Top-p is the smallest set whose probabilities sum to at least p. The code computed the largest set whose sum is at most
p. The tests had only cases in which a sum is exactly p.
"""
PROPERTY = "top_p_keeps_the_smallest_set_that_reaches_p"
MODULE, FUNCTION = "minillm.sampling", "_keep"
PATCH = [
    (
        "passes[1:] &= before[1:] < sampling.top_p * top_k_probs.sum()",
        "passes[1:] &= np.cumsum(top_k_probs)[1:] <= sampling.top_p * top_k_probs.sum()",
    )
]


def answer(model):
    logits = minillm.forward(model, model.tokenizer.encode("Once upon a time, there was a"))[-1]
    kept = int(np.count_nonzero(probabilities(logits, minillm.Sampling(temperature=1.0, top_p=0.9))))
    return [f"top-p 0.9 keeps {counted(kept, 'token')}"]
