"""Time a decode step of a pipeline, and compare it with latency + bytes / bandwidth.

    mpiexec -n 2 python scripts/measure_pipeline.py smollm2

Rank 0 first measures the same step with the whole model, and messages of two sizes to rank 1. A step of one sequence
passes through the stages one after another, so it should take the whole model's time and that of its messages.
"""

import sys
from time import perf_counter

import numpy as np

import minillm
from minillm.estimate.sharding import pipeline_bytes_sent
from minillm.parallel.load import end, follow, load_stage
from minillm.parallel.ranks import Ranks, world

SMALL, LARGE, REPEATS = 1_000, 4_000_000, 30  # bytes of a message


def message_s(ranks: Ranks, size: int) -> float:
    """Return the seconds of one message between ranks 0 and 1: half of a round trip, the fastest."""
    x, times = np.zeros(size, np.uint8), []
    for _ in range(REPEATS):
        started = perf_counter()
        if ranks.rank == 0:
            ranks.send(x, 1)
            ranks.receive(1, x.shape, x.dtype)
        elif ranks.rank == 1:
            ranks.receive(0, x.shape, x.dtype)
            ranks.send(x, 0)
        times.append((perf_counter() - started) / 2)
    return min(times)


def decode_s(model: minillm.Model) -> float:
    """Return the seconds of a decode step of one sequence, the fastest."""
    cache, times = minillm.KVCache(model, 64 + REPEATS), []
    minillm.prefill(model, range(1, 33), cache)
    for _ in range(REPEATS):
        started = perf_counter()
        minillm.decode_step(model, 5, cache)
        times.append(perf_counter() - started)
    return min(times)


def main() -> None:
    """Measure, and print on rank 0."""
    ranks, name = world(), sys.argv[1]
    small, large = message_s(ranks, SMALL), message_s(ranks, LARGE)
    bandwidth = (LARGE - SMALL) / (large - small)
    whole = decode_s(minillm.load(name)) if ranks.rank == 0 else 0.0
    ranks.barrier()
    model = load_stage(ranks, name, "numpy", "float32", "float32")
    if ranks.rank:
        follow(model)
        return
    pipeline = decode_s(model)
    end(model)
    config, size = model.ops.whole(model.config), ranks.size
    sent = sum(pipeline_bytes_sent(config, 1, 1, size, stage, bytes_each=4) for stage in range(size))
    messages = size + 1  # what rank 0 announces, the stream between two stages, the logits
    print(f"message: {small * 1e6:.0f} us + bytes / {bandwidth / 1e9:.1f} GB/s")
    print(f"whole model on rank 0 alone: {whole * 1e3:.2f} ms a step")
    print(f"predicted on {size} stages: {(whole + messages * small + sent / bandwidth) * 1e3:.2f} ms ({sent:,} bytes)")
    print(f"measured on {size} stages: {pipeline * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
