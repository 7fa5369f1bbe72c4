"""Time a decode step of a pipeline, and compare it with latency + bytes / bandwidth.

    mpiexec -n 2 python scripts/measure_pipeline.py smollm2

Rank 0 first measures the same step with the whole model, and messages of two sizes to rank 1. A step of one sequence
passes through the stages one after another, so it should take the whole model's time and that of its messages. Each
time is a median.
"""

import sys

from measure_parallel import LARGE, SMALL, decode_s, message_s

import minillm
from minillm.estimate.sharding import pipeline_bytes_sent
from minillm.parallel.load import end, follow, load_stage
from minillm.parallel.ranks import world


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
