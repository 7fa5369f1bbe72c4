"""Measure the memory of a streamed model, larger than the memory that its process may have.

    python scripts/measure_streaming_memory.py               # 28 layers: files of 6.4 GB and 3.4 GB, deleted at the end
    python scripts/measure_streaming_memory.py --layers 4    # 2.4 GB less of disk for each 12 layers less

It writes a model with the shapes and the vocabulary of Llama 3.2 3B: random bfloat16 numbers in a safetensors folder,
and the same model in int8 in a GGUF file. Then each file runs on each backend, in a process of its own:

    bound     the head, two layers, the KV cache, the activations of a chunk of the prompt, and 80 MB
    peak      the most that is resident (VmHWM), more than before loading
    limit     RLIMIT_DATA, which the system enforces: as much writable memory as the process has before loading, the
              bound, and 128 MB. It counts all writable memory, also what is freed, given back to the system, and only
              reserved still; and not what the system keeps in its page cache.

Before loading, a small model has run: libraries, compiled loops and the buffers of threads are in memory.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import minillm
from minillm.backends import get_backend
from minillm.backends.memory import keep_freed_memory
from minillm.config import ModelConfig
from minillm.estimate.memory import cache_bytes
from minillm.loading.gguf.write import write_gguf
from minillm.loading.read_config import read_config
from minillm.prefill import PREFILL_CHUNK
from minillm.quantization import quantize

load = import_module("minillm.loading.load")

THREE_B = {
    "model_type": "llama", "vocab_size": 128_256, "hidden_size": 3072, "intermediate_size": 8192,
    "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128,
    "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 500_000.0, "bos_token_id": None,
    "eos_token_id": 0, "tie_word_embeddings": True,
}  # fmt: skip
BESIDES = 80e6  # bytes: a matrix that is being prepared, freed memory that is kept
RANDOM = 20_000_003  # numbers, a prime: matrices are cut from them, one after another, again and again
RESERVED = 128e6  # bytes that may be reserved and not resident: heaps of threads, gaps between arrays
SHORT, LONG, PASSES = 8, 600, 2  # tokens of a prompt; a prefill, of the long one in two chunks, and a decode step
RUNS = [  # file, backend, weights, tokens of the prompt
    ("safetensors", "numpy", "float32", SHORT), ("safetensors", "compiled", "stored", SHORT),
    ("safetensors", "compiled", "int8", SHORT), ("safetensors", "compiled", "int4", SHORT),
    ("safetensors", "plain", "float32", SHORT), ("gguf", "numpy", "stored", SHORT),
    ("gguf", "compiled", "stored", SHORT), ("safetensors", "exact", "float32", SHORT),
    ("safetensors", "numpy", "float32", LONG), ("safetensors", "compiled", "stored", LONG),
    ("gguf", "compiled", "stored", LONG),
]  # fmt: skip


def shapes(config: ModelConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Return the name and the shape of each tensor."""
    dim, inner = config.hidden_size, config.intermediate_size
    q, kv = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    yield "model.embed_tokens.weight", (config.vocab_size, dim)
    for number in range(config.num_hidden_layers):
        layer = f"model.layers.{number}."
        for name, out, width in (
            ("self_attn.q_proj", q, dim), ("self_attn.k_proj", kv, dim), ("self_attn.v_proj", kv, dim),
            ("self_attn.o_proj", dim, q), ("mlp.gate_proj", inner, dim), ("mlp.up_proj", inner, dim),
            ("mlp.down_proj", dim, inner),
        ):  # fmt: skip
            yield f"{layer}{name}.weight", (out, width)
        yield f"{layer}input_layernorm.weight", (dim,)
        yield f"{layer}post_attention_layernorm.weight", (dim,)
    yield "model.norm.weight", (dim,)
    if not config.tie_word_embeddings:
        yield "lm_head.weight", (config.vocab_size, dim)


def write_folder(folder: Path, config: dict[str, Any], count: int = RANDOM) -> Path:
    """Write a model in bfloat16, whose matrices consist of `count` random numbers, repeated. Norms are 1."""
    random = quantize(np.random.default_rng(0).normal(0, 0.02, (1, count)).astype(np.float32), "bfloat16").arrays()[0]
    ones, start, end, header = quantize(np.ones((1, count)), "bfloat16").arrays()[0], 0, 0, {}
    tensors = dict(shapes(read_config(config)))
    for name, shape in tensors.items():
        begin, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape in tensors.values():
            numbers, left = random if len(shape) == 2 else ones, int(np.prod(shape))
            while left:
                piece = numbers[0, start : start + left]
                piece.tofile(file)
                left, start = left - len(piece), (start + len(piece)) % count
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def resident(name: str) -> int:
    """Return VmRSS, VmHWM or VmData of this process, in bytes."""
    with open("/proc/self/status", encoding="ascii") as file:
        return 1024 * int(next(line.split()[1] for line in file if line.startswith(name)))


def bound(model: str | Path, backend: str, weights: str, tokens: int = SHORT) -> float:
    """Return the bytes that a streamed model may add to its process, for a prompt of `tokens`."""
    checkpoint, ops = load.open_checkpoint(model), get_backend(backend)
    itemsize = ops.choose_dtype("float32").itemsize
    cache = cache_bytes(checkpoint.config, 1, tokens + PASSES, itemsize)
    activations = activation_numbers(checkpoint.config, backend, tokens) * itemsize
    return float(load.streamed_bytes(checkpoint, ops, "float32", weights) + cache + activations + BESIDES)


def activation_numbers(config: ModelConfig, backend: str, tokens: int) -> int:
    """Return the most numbers that a pass over a chunk of the prompt computes and still needs.

    Most are there in the MLP: the residual stream and its norm, gate, up, and what SwiGLU makes of them. `plain` has
    the scores of all keys at once, in four arrays.
    """
    of_a_row = 2 * config.hidden_size + (10 if backend == "exact" else 7) * config.intermediate_size
    scores = 4 * config.num_attention_heads * tokens if backend == "plain" else 0
    return min(tokens, PREFILL_CHUNK) * (of_a_row + scores)


def generate(model: minillm.Model, tokens: int = SHORT) -> list[int]:
    """Return the tokens of a prefill and a decode step."""
    return minillm.generate(model, list(range(5, 5 + tokens)), PASSES, minillm.Sampling(ignore_eos=True)).tokens


def measure(model: str, backend: str, weights: str, layers: str, tokens: str, limit: str) -> dict[str, Any]:
    """Run a model in this process. Return bytes and seconds, and the tokens: none if the memory did not suffice.

    Args:
        model: a folder or a file.
        backend, weights, layers: as for `minillm.load`.
        tokens: of the prompt.
        limit: bytes of writable memory that the process may have more than before loading; 0 for no limit.
    """
    keep_freed_memory()  # as the command `minillm` does
    generate(load.load("story-draft", backend, weights="bfloat16" if weights == "stored" else weights, layers=layers))
    opened = resident("VmRSS")
    if float(limit):
        most = resident("VmData") + int(float(limit))
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    started = perf_counter()
    try:
        loaded = load.load(model, backend, weights=weights, layers=layers)
        seconds = perf_counter() - started
        new_tokens = generate(loaded, int(tokens))
    except (MemoryError, ValueError) as problem:
        return {"tokens": [], "problem": f"{type(problem).__name__}: {problem}", "peak": resident("VmHWM") - opened}
    took = {"load_s": seconds, "pass_s": (perf_counter() - started - seconds) / PASSES}
    return took | {"peak": resident("VmHWM") - opened, "added": resident("VmRSS") - opened, "tokens": new_tokens}


def in_a_process(
    model: str | Path, backend: str, weights: str, layers: str, tokens: int = SHORT, limit: float = 0
) -> dict[str, Any]:
    """Return what `measure` returns in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(model), backend, weights, layers, str(tokens), str(limit)]
    record: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return record


def main() -> None:
    """Write the model, run it, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description="Measure the memory of streamed models.")
    parser.add_argument("--layers", type=int, default=28, help="layers of the model (default 28)")
    parser.add_argument("--runs", default="", help="some of the runs, by number from 0: 0,3 (default all)")
    parser.add_argument("--dir", type=Path, help="where the files are written (default the system's temporary folder)")
    parser.add_argument("--measure", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    chosen = [RUNS[int(number)] for number in options.runs.split(",")] if options.runs else RUNS
    with tempfile.TemporaryDirectory(dir=options.dir) as place:
        folder = write_folder(Path(place), THREE_B | {"num_hidden_layers": options.layers})
        files = {"safetensors": folder, "gguf": folder / "model.gguf"}
        if any(kind == "gguf" for kind, *_ in chosen):
            write_gguf(load.open_checkpoint(folder), files["gguf"], "int8")
        columns = ("file", "backend", "weights", "prompt", "bound", "peak", "loading", "a pass")
        print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
        for kind, backend, weights, tokens in chosen:
            most = bound(files[kind], backend, weights, tokens)
            found = in_a_process(files[kind], backend, weights, "streamed", tokens, most + RESERVED)
            row = [kind, backend, weights, str(tokens), f"{most / 1e6:,.0f} MB", f"{found['peak'] / 1e6:,.0f} MB"]
            took = [f"{found[name]:.1f} s" for name in ("load_s", "pass_s") if found["tokens"]]
            print(f"| {' | '.join([*row, *(took or [found['problem']])])} |", flush=True)
        kind, backend, weights, tokens = chosen[0]
        most = bound(files[kind], backend, weights, tokens)
        whole = in_a_process(files[kind], backend, weights, "loaded", tokens, most + RESERVED)
        print(f"loaded whole, in {chosen[0]}: {whole.get('problem', 'runs')}")


if __name__ == "__main__":
    main()
