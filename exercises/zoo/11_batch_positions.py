"""All sequences of a batch get the positions of the longest one."""

import minillm

ENGINE = "Unsloth"
KIND = "positions in a batch"
THREAD = "https://github.com/unslothai/unsloth/pull/4078"
TITLE = "Fix position_ids for batched left-padded generation"
SEEN = "Alone, every prompt gets a good answer. In a batch only the longest does, and the others get nonsense."
CAUSE = """
One vector of positions served the whole batch. A shorter prompt, padded on the left, begins later, so its new tokens
were rotated by angles that did not belong to them.
"""
PROPERTY = "a_batch_is_its_sequences_one_by_one"
MODULE, FUNCTION = "minillm.ragged_batch", "ragged_batch"
PATCH = [
    (
        "    positions = [np.arange(c.length, c.length + len(t)) for t, c in zip(new_tokens, caches, strict=True)]\n",
        "    first = max(cache.length for cache in caches)\n"
        "    positions = [np.arange(first, first + len(tokens)) for tokens in new_tokens]\n",
    )
]


def answer(model):
    engine = minillm.Engine(model)
    prompts = ["The cat", "Once upon a time there was a little girl who lived in a small house. One day"]
    requests = [engine.submit(prompt, 24) for prompt in prompts]
    engine.run()
    return [repr(prompt + request.text) for prompt, request in zip(prompts, requests, strict=True)]
