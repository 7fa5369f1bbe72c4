"""The output head of a model with tied embeddings keeps its random first values."""

import minillm

ENGINE = "SGLang"
KIND = "loading of weights"
THREAD = "https://github.com/sgl-project/sglang/pull/1508"
TITLE = "Add support for tie_word_embeddings when loading weights + support for SmolLM"
SEEN = "SmolLM loads without an error or a warning, and writes nonsense."
CAUSE = """
The file of a model with tied embeddings has no `lm_head.weight`. The loader filled only what it found in the file, so
the head kept the numbers that it was made with.
"""
PROPERTY = "prefill_is_naive"
MODULE, FUNCTION = "minillm.loading.build", "_embedding_and_head"
PATCH = [
    (
        "    table = ops.embedding_of(head) if part.has_head and config.tie_word_embeddings else None\n",
        "    table = None\n"
        "    if config.tie_word_embeddings:\n"
        "        head = ops.prepare([np.random.default_rng(0).normal(0, 0.02, shape).astype(np.float32)])\n",
    )
]


def answer(_):
    model = minillm.load("story", "plain")
    return [repr(minillm.generate(model, "The capital of France is", 12).text)]
