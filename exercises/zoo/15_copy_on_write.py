"""A block that two sequences share is written without a copy."""

import minillm

ENGINE = "Atlas"
KIND = "copy-on-write"
THREAD = "https://github.com/Avarok-Cybersecurity/atlas/issues/1193"
TITLE = "Prefix cache shares a partially-filled tail KV block with no copy-on-write (default ON)"
SEEN = "Several requests with the same prompt all derail at the same place, with the same wrong text."
CAUSE = """
The last block of a prompt is only partly full. It was shared by several sequences, and each wrote its own next token
into the same slot.
"""
PROPERTY = "requests_in_one_engine_are_as_if_alone"
MODULE, FUNCTION = "minillm.kv_cache.block_table", "BlockTable._next_is_shared"
PATCH = [("self.pool.reference_counts[self.table[number]] > 1", "self.pool.reference_counts[self.table[number]] > 2")]


def answer(model):
    engine = minillm.Engine(model)
    requests = engine.submit_samples("Once upon a time", 2, 12, minillm.Sampling(temperature=1.0, seed=3))
    engine.run()
    return [repr(request.text) for request in requests]
