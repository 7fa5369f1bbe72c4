"""The epsilon of RMSNorm is a constant, and not the model's."""

import minillm

ENGINE = "llama.cpp"
KIND = "RMSNorm"
THREAD = "https://github.com/ggml-org/llama.cpp/pull/2374"
TITLE = "make rms_norm_eps a parameter"
SEEN = "Everything seems to work, but LLaMA 2 is a little worse than elsewhere."
CAUSE = "LLaMA was trained with an epsilon of 1e-6, which stood in the code. LLaMA 2 was trained with 1e-5."
PROPERTY = "prefill_is_naive"
MODULE, FUNCTION = "minillm.layers", "rms_norm"
PATCH = [("mean_square + eps", "mean_square + 1e-6")]


def answer(model):
    score = minillm.score(model, "Once upon a time there was a little girl named Lily. She liked to play outside.")
    return [f"perplexity {score.perplexity:.6f}"]
