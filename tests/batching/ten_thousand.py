"""10,000 random requests through one engine; prints what is left as JSON. A process of its own: no shape checker."""

import dataclasses
import gc
import json
import sys

import numpy as np
from random_models import random_model
from test_checks import CONFIG

import minillm
from minillm import Engine, Sampling
from minillm.batching.request import PagedRequest
from minillm.kv_cache.paged import PagedKVCache

TINY = dataclasses.replace(
    CONFIG, num_hidden_layers=1, sliding_windows=(None,), hidden_size=2, num_attention_heads=1, num_key_value_heads=1,
    head_dim=2, intermediate_size=2,
)  # fmt: skip


def random_arguments(rng, number):
    prompt = rng.integers(1, 3, size=rng.integers(1, 7)).tolist()
    return prompt, int(rng.integers(1, 5)), Sampling(temperature=1.0, seed=number)


def main(preemption, count):
    model, _ = random_model(TINY, 0)
    rng = np.random.default_rng(0)
    engine = Engine(model, block_size=2, num_blocks=12, max_batch_tokens=24, preemption=preemption)
    submitted, alive, wrong = 0, [], []
    while submitted < count or engine.has_work:
        for _ in range(min(rng.integers(0, 5), count - submitted)):
            arguments = random_arguments(rng, submitted)
            alive.append((engine.submit(*arguments), arguments))
            submitted += 1
        if alive and rng.random() < 0.2:
            engine.cancel(alive[rng.integers(len(alive))][0])
        engine.step()
        for request, arguments in [pair for pair in alive if pair[0].finished]:
            if rng.random() < 0.01 and request.finish_reason != "cancelled":
                same = request.tokens == minillm.generate(model, *arguments, use_cache=False).tokens
                wrong += [] if same else [arguments[0]]
        alive = [pair for pair in alive if not pair[0].finished]
    del alive
    request = arguments = None
    gc.collect()
    left = [type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, PagedRequest | PagedKVCache)]
    pool = engine.pool
    print(json.dumps({
        "wrong": wrong, "left": left, "held": pool.used, "available": pool.available, "events": len(engine._events),
        "known": len(pool.prefixes), "reference_counts": sum(pool.reference_counts),
        **dataclasses.asdict(engine.statistics),
    }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
