"""Measure what streaming costs in time, and compare it with bytes / bandwidth: python scripts/measure_streaming.py

    python scripts/measure_streaming.py smollm2 --backend numpy     # about 45 seconds; nothing else should be running

*Warm* means that the whole file is in the page cache of the system, *cold* that it was dropped from there before each
pass (`posix_fadvise`). The script asks the system which part of the file is there (`mincore`), and prints it.

    reading     the layers' tensors, as a pass reads them, by one thread, and nothing else
    streamed    a pass: reading, the layout of the backend, computing
    predicted   the formula: max(bytes of the layers / bandwidth, seconds of the loaded model)

A time is the median of the repeats that fit into two seconds, at least 3.
"""

import argparse
import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

import minillm
from minillm.backends.memory import keep_freed_memory
from minillm.estimate.memory import find_weights
from minillm.estimate.streaming import streamed_layers_bytes, streamed_seconds_per_token
from minillm.loading import open_checkpoint
from minillm.loading.registry import REGISTRY

PROMPTS, REPEATS, ENOUGH_S = (8, 64, 512), 3, 2.0


def files_of(name: str) -> list[str]:
    """Return the model's files with weights."""
    path = Path((name in REGISTRY and REGISTRY[name].folder()) or name)
    return [str(file) for file in (path.glob("*.safetensors") if path.is_dir() else [path])]


def drop_from_cache(files: Sequence[str]) -> None:
    """Ask the system to drop these files from its page cache. Pages that were written have to be on the disk first."""
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def cached_fraction(files: Sequence[str]) -> float:
    """Return the fraction of the files' pages that are in the page cache."""
    found = []
    for file in files:
        pages = np.memmap(file, mode="r")
        there = np.zeros(-(-pages.size // os.sysconf("SC_PAGE_SIZE")), np.uint8)
        start, vector = (ctypes.c_void_p(array.ctypes.data) for array in (pages, there))
        if ctypes.CDLL(None).mincore(start, ctypes.c_size_t(pages.size), vector):
            raise OSError(f"mincore does not tell which pages of {file} are in memory")
        found.append(there & 1)
    return float(np.concatenate(found).mean())


def seconds(work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Return the median time of `work`, after `before` each time."""
    times: list[float] = []
    while len(times) < REPEATS or (sum(times) < ENOUGH_S and len(times) < 30):
        before()
        started = perf_counter()
        work()
        times.append(perf_counter() - started)
    return median(times)


def prefill(model: minillm.Model, tokens: int) -> Callable[[], object]:
    """Return a pass over a prompt of `tokens`."""
    return lambda: minillm.prefill(model, [1 + n % 1000 for n in range(tokens)], minillm.KVCache(model, tokens))


def decode(model: minillm.Model) -> Callable[[], object]:
    """Return a decode step after 32 tokens."""
    cache = minillm.KVCache(model, 100)
    minillm.prefill(model, range(1, 33), cache)

    def step() -> None:
        minillm.decode_step(model, 5, cache)
        cache.truncate(32)

    return step


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="Measure what streaming costs in time.")
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--weights", default="float32")
    options = parser.parse_args()
    keep_freed_memory()  # as the command `minillm` does
    name, files, how = options.model, files_of(options.model), (options.backend, "float32", options.weights)
    tensors = [t for tensor, t in open_checkpoint(name).tensors.items() if tensor.startswith("model.layers.")]

    def read() -> None:
        for tensor in tensors:
            tensor.stored()

    loaded, streamed = minillm.load(name, *how), minillm.load(name, *how, layers="streamed")
    stored = {"bfloat16": "bfloat16", "int8": "int8", "float32": "float32"}[max(t.format for t in tensors)]
    size = float(streamed_layers_bytes(loaded.config, find_weights(stored, loaded.config)))
    read()
    warm_s, warm = seconds(read), cached_fraction(files)
    drop_from_cache(files)
    cold = cached_fraction(files)
    cold_s = seconds(read, lambda: drop_from_cache(files))
    print(f"{name}, {options.backend}, {options.weights}: the layers have {size / 1e6:.0f} MB in the file ({stored})")
    print(f"reading, warm ({warm:.0%} cached): {warm_s * 1e3:.0f} ms, {size / warm_s / 1e9:.2f} GB/s")
    print(f"reading, cold ({cold:.0%} cached): {cold_s * 1e3:.0f} ms, {size / cold_s / 1e9:.2f} GB/s")
    print("pass: loaded, streamed warm (predicted), streamed cold (predicted), all ms a pass; ms a token")
    for tokens in (1, *PROMPTS):
        passes = [decode(model) if tokens == 1 else prefill(model, tokens) for model in (loaded, streamed)]
        whole, warm_pass = seconds(passes[0]), seconds(passes[1])
        cold_pass = seconds(passes[1], lambda: drop_from_cache(files))
        predicted = [streamed_seconds_per_token(size, size / read_s, whole) for read_s in (warm_s, cold_s)]
        row = [whole, warm_pass, predicted[0], cold_pass, predicted[1]]
        times = [f"{value * 1e3:,.0f}" for value in row]
        each = [f"{value * 1e3 / tokens:,.3g}" for value in (whole, warm_pass, cold_pass)]
        what = "decode" if tokens == 1 else f"prefill {tokens}"
        print(f"{what}: {times[0]}, {times[1]} ({times[2]}), {times[3]} ({times[4]}); a token {', '.join(each)}")


if __name__ == "__main__":
    main()
