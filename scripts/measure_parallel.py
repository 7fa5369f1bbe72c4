"""Measure decode steps on two ranks, and compare them with computing / ranks + messages * latency + bytes / bandwidth.

    python scripts/measure_parallel.py smollm2      # about 40 seconds; nothing else should be running

It starts one process with two threads and one with one, then two ranks with one thread each, by `mpiexec`. A pipeline
is measured by `measure_pipeline.py`.

    message      a small and a large array go from rank 0 to rank 1 and back: latency and bandwidth
    tensor       each rank has half of every layer, so computing / ranks is half of one thread's step

Messages and bytes are those of `estimate/sharding.py`; an all-reduce around a ring is 2 (ranks - 1) messages, and the
plan of rank 0 is two: its length, and itself. Each time is a median.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import minillm
from minillm.backends.memory import keep_freed_memory
from minillm.backends.threads import environment_for
from minillm.config import ModelConfig
from minillm.estimate.sharding import (
    tensor_parallel_bytes_sent,
    vocabulary_parallel_bytes_sent,
)
from minillm.loading import open_config
from minillm.parallel.load import end, follow, load_share
from minillm.parallel.ranks import Ranks, world

SMALL, LARGE, REPEATS, PROMPT = 1_000, 4_000_000, 30, 256  # bytes, bytes, times, tokens
RANKS = 2


def message_s(ranks: Ranks, size: int) -> float:
    """Return the seconds of one message between ranks 0 and 1: half of a round trip."""
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
    return median(times)


def prefill_s(model: minillm.Model) -> float:
    """Return the seconds of a prefill of 256 tokens."""
    times = []
    for _ in range(3):
        started = perf_counter()
        minillm.prefill(model, range(1, PROMPT + 1), minillm.KVCache(model, PROMPT))
        times.append(perf_counter() - started)
    return median(times)


def decode_s(model: minillm.Model) -> float:
    """Return the seconds of a decode step after 32 tokens and more."""
    cache, times = minillm.KVCache(model, 64 + REPEATS), []
    minillm.prefill(model, range(1, 33), cache)
    for _ in range(REPEATS):
        started = perf_counter()
        minillm.decode_step(model, 5, cache)
        times.append(perf_counter() - started)
    return median(times)


def on_ranks(name: str, backend: str) -> None:
    """Measure on this rank; rank 0 prints the record as JSON."""
    ranks = world()
    small, large = message_s(ranks, SMALL), message_s(ranks, LARGE)
    model = load_share(ranks, name, backend, "float32", "float32")
    if ranks.rank:
        follow(model)
        return
    record = {"prefill_s": prefill_s(model), "latency_s": small, "bytes_per_s": (LARGE - SMALL) / (large - small)}
    before = ranks.sent["broadcast"].bytes
    record |= {"decode_s": decode_s(model), "plan_bytes": (ranks.sent["broadcast"].bytes - before) / REPEATS}
    end(model)
    print(json.dumps(record))


def sent(config: ModelConfig) -> tuple[int, float]:
    """Return the messages that follow each other in a decode step, and the bytes in them without the plan."""
    all_reduces = 2 * config.num_hidden_layers + 1
    messages = 2 + all_reduces * 2 * (RANKS - 1) + RANKS - 1
    summed = tensor_parallel_bytes_sent(config, 1, RANKS, 4) + vocabulary_parallel_bytes_sent(config, 1, 1, RANKS, 4)
    return messages, float(summed)


def process(threads: int, *command: str) -> dict[str, Any]:
    """Return the JSON that a command prints."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment_for(threads))
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def main() -> None:
    """Start the processes, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description="Measure decode steps on two ranks.")
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--measure", choices=("alone", "ranks"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()  # as the command `minillm` does
    if options.measure == "alone":
        model = minillm.load(options.model, options.backend)
        print(json.dumps({"prefill_s": prefill_s(model), "decode_s": decode_s(model)}))
        return
    if options.measure:
        on_ranks(options.model, options.backend)
        return
    me = [sys.executable, __file__, options.model, "--backend", options.backend, "--measure"]
    mpiexec = str(Path(sys.executable).with_name("mpiexec"))
    two, one = (process(threads, *me, "alone") for threads in (2, 1))
    print(f"{options.model}, {options.backend}, float32: a decode step, and a prefill of {PROMPT} tokens")
    print("| | decode predicted | decode | prefill |", "|---|---|---|---|", sep="\n")
    for what, found in (("one process, one thread", one), ("one process, two threads", two)):
        print(f"| {what} | | {found['decode_s'] * 1e3:.1f} ms | {found['prefill_s']:.2f} s |")
    found = process(1, mpiexec, "-n", str(RANKS), *me, "ranks")
    (messages, bytes_), latency = sent(open_config(options.model)), found["latency_s"]
    bytes_ += found["plan_bytes"]
    predicted = one["decode_s"] / RANKS + messages * latency + bytes_ / found["bytes_per_s"]
    times = f"{predicted * 1e3:.1f} ms | {found['decode_s'] * 1e3:.1f} ms | {found['prefill_s']:.2f} s"
    print(f"| two ranks, tensor parallel | {times} |")
    print(f"{messages} messages, {bytes_:,.0f} bytes; {latency * 1e6:.0f} us + bytes / "
          f"{found['bytes_per_s'] / 1e9:.1f} GB/s")  # fmt: skip


if __name__ == "__main__":
    main()
