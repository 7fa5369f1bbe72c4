"""All that needs a real GPU, in one command of a few minutes: python scripts/check_gpu.py [--out results.json]

Is the `cupy` backend right (properties, the specification in reference.py, the same greedy text as on NumPy), and how
near does it come to what the device can do? Times are medians between device events; shares are of the bandwidth of a
copy and of the speed of a large product, measured on the same device in the same run. Needs minillm and CuPy. Without
pytest, torch, transformers or the cached smollm2 it leaves their parts out and says so.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tensors import tensor_shapes  # noqa: E402

import minillm  # noqa: E402
from minillm import reference  # noqa: E402
from minillm.backends import get_backend  # noqa: E402
from minillm.config import ModelConfig, RopeParameters  # noqa: E402
from minillm.estimate.work import decode_work, prefill_work  # noqa: E402
from minillm.loading import open_checkpoint  # noqa: E402
from minillm.loading.checkpoint import Checkpoint  # noqa: E402
from minillm.loading.registry import REGISTRY  # noqa: E402
from minillm.model import build, weights_by_name  # noqa: E402
from minillm.ragged_batch import ragged_batch  # noqa: E402

PROMPT = "Once upon a time there was a robot who wanted to know how everything works."
NEW_TOKENS, PREFILL_TOKENS, CONTEXT = 40, 2048, 512
PROPERTIES = ("tests/properties/test_equivalence.py", "tests/batching/test_engine_schedules.py")
PROPERTY_SECONDS = 150
LAST_START_S = 360  # nothing is begun later: all is to be done in eight minutes


def shape(layers: int, dim: int, inner: int, heads: int, kv_heads: int, vocab: int) -> ModelConfig:
    """A Llama of these sizes, as smollm2 and Llama 3.2 are."""
    return ModelConfig(
        "llama", vocab, dim, inner, layers, heads, kv_heads, 64, 8192, 1e-5, True, RopeParameters(500_000.0),
        False, False, False, False, (None,) * layers, None, (0,),
    )  # fmt: skip


SHAPES = {"smollm2": shape(30, 576, 1536, 9, 3, 49_152), "1B": shape(16, 2048, 8192, 32, 8, 128_256)}


@dataclass(frozen=True)
class RandomTensor:
    """A tensor of small random numbers, the same million over and over."""

    shape: tuple[int, ...]

    def read(self) -> Any:
        """Made anew each time; on the host, as `build` joins matrices there."""
        numbers = np.random.default_rng(0).standard_normal(2**20, np.float32) * 0.02
        return np.resize(numbers, self.shape) if len(self.shape) > 1 else np.ones(self.shape, np.float32)


def random_model(name: str, dtype: str) -> minillm.Model:
    """Random weights of this shape on the device."""
    config, ops = SHAPES[name], get_backend("cupy")
    tensors = {tensor: RandomTensor(size) for tensor, size in tensor_shapes(config).items()}
    return build(Checkpoint(f"random {name}", config, tensors, None), ops, ops.choose_dtype(dtype))


def milliseconds(work: Callable[[], Any], rounds: int = 20) -> float:
    """The median of several runs between two events on the device, after two that do not count."""
    import cupy

    work(), work()
    times = []
    for _ in range(rounds):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end))
    return median(times)


# What the device can do


def bytes_per_s() -> float:
    """Of a copy of a gigabyte, read and written."""
    import cupy

    source, target = cupy.zeros(2**28, np.float32), cupy.empty(2**28, np.float32)
    return 2 * source.nbytes / milliseconds(lambda: cupy.copyto(target, source)) * 1e3


def flops_per_s(dtype: str, size: int = 8192) -> float | None:
    """Of a large square product; None without cuBLAS."""
    ops = get_backend("cupy")
    ops.choose_dtype(dtype)
    if not ops.device.multiplies:
        return None
    x = ops.prepare(ops.device.zeros((size, size), np.float32))
    out = ops.device.empty((size, size), np.float32)
    return 2 * size**3 / milliseconds(lambda: ops.device.multiply(x, x, out, False), 5) * 1e3


# Is it right?


def against_the_specification() -> dict[str, Any]:
    """story in float64 beside reference.py, which has neither cache nor backend."""
    checkpoint = open_checkpoint("story")
    model = minillm.load("story", backend="cupy", dtype="float64")
    tokens = model.tokenizer.encode(PROMPT)[:24]
    expected = reference.forward(checkpoint.config, weights_by_name(checkpoint), tokens)
    found = model.ops.to_host(minillm.forward(model, tokens))
    difference = float(np.abs(found - expected).max())
    return {"largest_difference": difference, "ok": difference < 1e-9}


def greedy_agreement(name: str) -> dict[str, Any]:
    """The same greedy tokens as on NumPy: in float64, where no near tie is decided by rounding, and in float32."""
    texts = {}
    for dtype in ("float64", "float32"):
        for backend in ("numpy", "cupy"):
            model = minillm.load(name, backend=backend, dtype=dtype)
            out = minillm.generate(model, model.tokenizer.encode(PROMPT), NEW_TOKENS, minillm.Sampling(ignore_eos=True))
            texts[backend, dtype] = out.tokens
    same = {dtype: texts["numpy", dtype] == texts["cupy", dtype] for dtype in ("float64", "float32")}
    return {"same_tokens": same, "tokens": NEW_TOKENS, "ok": same["float64"]}


def properties() -> dict[str, Any]:
    """The property tests with the real device in place of the one that is none."""
    # Without the options of the project's own runs, whose plugins may not be there: one process has the device.
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", *PROPERTIES]
    environment = os.environ | {"MINILLM_GPU": "1"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PROPERTY_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"ok": False, "said": f"not done after {PROPERTY_SECONDS} s"}
    lines = (done.stdout + done.stderr).strip().splitlines()
    return {"ok": done.returncode == 0, "said": lines[-1:] if done.returncode == 0 else lines[-30:]}


# How fast is it?


def prefill_row(model: minillm.Model, limits: dict[str, Any], stored: str) -> dict[str, Any]:
    """A prompt of 2,048 tokens; its share of the matrix speed for these weights."""
    cache, prompt = minillm.KVCache(model, PREFILL_TOKENS), [7] * PREFILL_TOKENS

    def work() -> None:
        cache.truncate(0)
        minillm.prefill(model, prompt, cache)

    ms = milliseconds(work, 5)
    flops, limit = prefill_work(model.config, PREFILL_TOKENS).flops, limits["flops_per_s"][stored]
    return {"what": f"prefill of {PREFILL_TOKENS}", "ms": ms, "share": flops / ms * 1e3 / limit if limit else None}


def filled_caches(model: minillm.Model, sequences: int, paged: bool) -> list[Any]:
    """So many sequences of CONTEXT tokens, with room for what is timed."""
    pool = minillm.BlockPool(model, -(-(CONTEXT + 40) // 16) * sequences, 16) if paged else None
    caches = [minillm.PagedKVCache(pool) if pool else minillm.KVCache(model, CONTEXT + 40) for _ in range(sequences)]
    for cache in caches:
        minillm.prefill(model, [7] * CONTEXT, cache)
        cache.reserve(1)
    return caches


def decode_row(
    model: minillm.Model, limits: dict[str, Any], stored: str, sequences: int, paged: bool
) -> dict[str, Any]:
    """A step of so many sequences of about 512 tokens; its share of the bandwidth, weights and caches read once."""
    caches = filled_caches(model, sequences, paged)

    def work() -> None:
        minillm.forward_batch(model, [([7], cache) for cache in caches])

    ms = milliseconds(work)
    kind = "paged" if paged else "contiguous"
    needed = decode_work(model.config, CONTEXT, sequences, 4 if stored == "float32" else 2, 4).bytes
    share = float(needed) / ms * 1e3 / limits["bytes_per_s"]
    return {"what": f"decode, {sequences} x {kind}", "ms": ms, "share": share, "tokens_per_s": sequences / ms * 1e3}


def attention_row(
    model: minillm.Model, limits: dict[str, Any], stored: str, sequences: int, paged: bool
) -> dict[str, Any]:
    """Attention alone, over contiguous or paged caches, for every layer in turn: the time and share of one layer."""
    config, device = model.config, model.ops.device
    caches = filled_caches(model, sequences, paged)
    batch = model.ops.send(ragged_batch([np.array([7])] * sequences, caches, [1] * sequences))
    heads, kv_heads, layers = config.num_attention_heads, config.num_key_value_heads, config.num_hidden_layers
    q, k, v = (device.zeros((sequences, count, config.head_dim), np.float32) for count in (heads, kv_heads, kv_heads))

    def work() -> None:
        for layer in range(layers):
            model.ops.attention(q, k, v, batch.spans, batch.caches, layer, None)

    ms = milliseconds(work) / layers
    needed = 2 * sequences * (CONTEXT + 1) * kv_heads * config.head_dim * 4
    kind = "paged" if paged else "contiguous"
    return {"what": f"attention, {sequences} x {kind}", "ms": ms, "share": needed / ms * 1e3 / limits["bytes_per_s"]}


def speeds(name: str, stored: str, limits: dict[str, Any]) -> list[dict[str, Any]]:
    """Prefill, and decode at batch 1, 8 and 32."""
    model = random_model(name, stored)
    rows = [prefill_row(model, limits, stored)]
    rows += [decode_row(model, limits, stored, n, False) for n in (1, 8, 32)]
    rows += [decode_row(model, limits, stored, n, True) for n in (1, 8, 32)]
    rows += [attention_row(model, limits, stored, n, paged) for n in (1, 8, 32) for paged in (False, True)]
    return [{"model": name, "weights": stored, **row} for row in rows]


def transformers_row(name: str, stored: str) -> list[dict[str, Any]]:
    """transformers with sdpa on the same shape: one sequence, a step at a time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    c = SHAPES[name]
    config = LlamaConfig(
        vocab_size=c.vocab_size, hidden_size=c.hidden_size, intermediate_size=c.intermediate_size,
        num_hidden_layers=c.num_hidden_layers, num_attention_heads=c.num_attention_heads,
        num_key_value_heads=c.num_key_value_heads, max_position_embeddings=c.max_position_embeddings,
        tie_word_embeddings=True, attn_implementation="sdpa",
    )  # fmt: skip
    with torch.device("cuda"), torch.inference_mode():
        model = LlamaForCausalLM(config).to(getattr(torch, stored)).eval()
        cache = model(torch.full((1, CONTEXT), 7), use_cache=True, logits_to_keep=1).past_key_values
        times = []
        for _ in range(22):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            model(torch.full((1, 1), 7), past_key_values=cache, use_cache=True)
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
    row = {"model": name, "weights": stored, "what": "decode, transformers sdpa", "ms": median(times[2:])}
    return [row | {"share": None}]


def installed(*names: str) -> bool:
    """Whether all of these can be imported."""
    return all(importlib.util.find_spec(name) for name in names)


def describe() -> dict[str, Any]:
    """The device and what drives it."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    versions = {"python": sys.version.split()[0], "numpy": np.__version__, "cupy": cupy.__version__}
    return {"device": properties["name"].decode(), "cuda": cupy.cuda.runtime.runtimeGetVersion(), **versions}


def check() -> dict[str, Any]:
    """Everything, and the list of what was left out."""
    begun, left_out = monotonic(), list[str]()
    record = describe() | {"left_out": left_out, "checks": {}, "speeds": []}
    checks: dict[str, Any] = record["checks"]
    checks["specification"] = against_the_specification()
    checks["greedy story"] = greedy_agreement("story")
    if REGISTRY["smollm2"].folder():
        checks["greedy smollm2"] = greedy_agreement("smollm2")
    else:
        left_out.append("greedy text of smollm2: it is not in the cache")
    if installed("pytest", "hypothesis", "beartype"):
        checks["properties"] = properties()
    else:
        left_out.append("property tests: pytest, hypothesis or beartype is not installed")
    kinds = ("float32", "float16", "bfloat16")
    limits = {"bytes_per_s": bytes_per_s(), "flops_per_s": {kind: flops_per_s(kind) for kind in kinds}}
    record["limits"] = limits
    if limits["flops_per_s"]["float32"] is None:
        left_out.append("shares of the matrix speed: cuBLAS is not installed")
    for name in SHAPES:
        for stored in ("float32", "bfloat16"):
            if monotonic() - begun > LAST_START_S:
                left_out.append(f"speeds of {name} in {stored}: time was up")
            else:
                record["speeds"] += speeds(name, stored, limits)
    if monotonic() - begun > LAST_START_S:
        left_out.append("transformers with sdpa: time was up")
    elif installed("torch", "transformers"):
        record["speeds"] += transformers_row("1B", "bfloat16")
    else:
        left_out.append("transformers with sdpa: torch or transformers is not installed")
    return record


def show(record: dict[str, Any]) -> None:
    """One table."""
    print(f"{record['device']}, CuPy {record['cupy']}, Python {record['python']}")
    for name, result in record["checks"].items():
        print(f"{'ok    ' if result['ok'] else 'FAILED'} {name}: { ({k: v for k, v in result.items() if k != 'ok'}) }")
    print(f"{'model':10}{'weights':10}{'what':28}{'ms':>10}{'share':>8}")
    for row in record["speeds"]:
        share = "" if row["share"] is None else f"{row['share']:.0%}"
        print(f"{row['model']:10}{row['weights']:10}{row['what']:28}{row['ms']:10.3f}{share:>8}")
    for part in record["left_out"]:
        print(f"left out: {part}")


def main() -> int:
    """Exit code 0 if everything that was checked is right, 1 if not, 2 if there is no device."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    try:
        get_backend("cupy")
    except OSError as problem:
        print(f"check_gpu: {problem}", file=sys.stderr)
        return 2
    record = check()
    show(record)
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0 if all(result["ok"] for result in record["checks"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
