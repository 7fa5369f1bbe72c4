"""A block that two sequences share is freed as soon as one of them ends."""

import minillm

ENGINE = "vLLM"
KIND = "reference counts"
THREAD = "https://github.com/vllm-project/vllm/issues/1556"
TITLE = "ValueError: Double free!"
SEEN = "The server stops with `ValueError: Double free!`, with beam search, or with several answers to a long prompt."
CAUSE = """
Sequences that shared blocks and went beyond the sliding window counted the references of a block wrongly, so that
a block was given back twice.
"""
PROPERTY = "requests_in_one_engine_are_as_if_alone"
MODULE, FUNCTION = "minillm.kv_cache.block_table", "BlockTable.fork"
PATCH = [("        for block in copy.table:\n", "        for block in copy.table[:-1]:\n")]


def answer(model):
    engine = minillm.Engine(model)
    requests = engine.submit_samples("Once upon a time", 2, 12, minillm.Sampling(temperature=1.0, seed=3))
    engine.run()
    return [repr(request.text) for request in requests]
