"""Top-k keeps all tokens that are as probable as the last one it keeps."""

import numpy as np

import minillm
from minillm.sampling import probabilities
from minillm.support.wording import counted

ENGINE = "vLLM"
KIND = "top-k"
THREAD = "https://github.com/vllm-project/vllm/pull/50979"
TITLE = "[Bugfix][Sampler] Keep exactly k tokens in top-k with tied logits"
SEEN = "Alone and in a batch of 8 or more, the same request with the same seed gives different tokens."
CAUSE = """
One implementation kept every logit that was not below the k-th largest, so equal logits were all kept. The kernel for
large batches kept exactly k. In bfloat16 equal logits are common.
"""
PROPERTY = "top_k_keeps_k_tokens"
MODULE, FUNCTION = "minillm.sampling", "_keep"
PATCH = [
    (
        "passes = np.arange(len(probs)) < (sampling.top_k or len(probs))",
        "passes = probs >= probs[min(sampling.top_k or len(probs), len(probs)) - 1]",
    )
]


def answer(model):
    logits = minillm.forward(model, model.tokenizer.encode("Once upon a time, there was a"))[-1]
    coarse = np.rint(logits / 2)  # as a format of few bits rounds: several are equal
    kept = int(np.count_nonzero(probabilities(coarse, minillm.Sampling(temperature=1.0, top_k=3))))
    return [f"rounded logits, top-k 3 keeps {counted(kept, 'token')}"]
