"""Run all checks that need a real GPU, in a few minutes: python scripts/check_gpu.py [--out results.json]

First, is the `cupy` backend correct? It runs the property tests, and is compared with the specification in
reference.py, with transformers as an oracle, and with the greedy text of the NumPy backend. Second, how close is it to
the limits of the device? Times are medians between device events. Shares are fractions of the bandwidth of a copy and
of the speed of a large product, measured on the same device in the same run.

The script needs minillm and CuPy. Checks that need pytest, torch, transformers or the cached smollm2 are left out if
these are missing, and the report says so. If a check fails, the failure is recorded and the next check runs. The JSON
file is written again after each check.
"""

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("CUPY_CACHE_IN_MEMORY", "1")  # compiled kernels: there may be no folder to write to

import minillm  # noqa: E402
from minillm import reference  # noqa: E402
from minillm.backends import get_backend  # noqa: E402
from minillm.config import ModelConfig, RopeParameters  # noqa: E402
from minillm.estimate.work import decode_work, prefill_work  # noqa: E402
from minillm.loading import open_checkpoint  # noqa: E402
from minillm.loading.build import weights_by_name  # noqa: E402
from minillm.loading.registry import REGISTRY  # noqa: E402
from minillm.model import LayerWeights, Model  # noqa: E402
from minillm.ragged_batch import ragged_batch  # noqa: E402

PROMPT = "Once upon a time there was a robot who wanted to know how everything works."
NEW_TOKENS, PREFILL_TOKENS, CONTEXT = 40, 2048, 512
PROPERTIES = (
    "tests/properties/test_equivalence.py", "tests/properties/test_cache_schedules.py",
    "tests/properties/test_exact_schedules.py::test_any_schedule_on_a_device_nearly",
    "tests/batching/test_engine_schedules.py", "tests/batching/test_static_batching.py",
    "tests/batching/test_speculative_engine.py::test_every_request_is_as_if_alone[cupy]",
    *(f"tests/speculative/test_lossless.py::test_random_models[{name}-cupy]"
      for name in ("transformers_are_lossless", "a_model_accepts_its_own_draft", "greedy_text_is_naive")),
)  # fmt: skip
ORACLE = "tests/oracles/test_transformers_oracle.py::test_logits_and_64_greedy_tokens"
TEST_SECONDS = 120  # time limit of each pytest run
LAST_START_S = 340  # no check starts later, so that all end within eight minutes
COPIED = 2**28  # float32 numbers: one gigabyte
PRODUCT = 8192  # rows and columns of a large product
KINDS = ("float32", "float16", "bfloat16")  # dtypes of weights
Record = dict[str, Any]


class LeftOut(Exception):
    """The reason why a check cannot run here."""


def need(*names: str) -> None:
    """Raise LeftOut unless all of these can be imported."""
    if missing := [name for name in names if not importlib.util.find_spec(name)]:
        raise LeftOut(f"not installed: {', '.join(missing)}")


def shape(layers: int, dim: int, inner: int, heads: int, kv_heads: int, vocab: int) -> ModelConfig:
    """Return the config of a Llama of these sizes. smollm2 and Llama 3.2 are such models."""
    return ModelConfig(
        "llama", vocab, dim, inner, layers, heads, kv_heads, 64, 8192, 1e-5, True, RopeParameters(500_000.0),
        False, False, False, False, (None,) * layers, None, (0,),
    )  # fmt: skip


SHAPES = {"smollm2": shape(30, 576, 1536, 9, 3, 49_152), "1B": shape(16, 2048, 8192, 32, 8, 128_256)}


def random_weights(device: Any, *shape: int) -> Any:
    """Return small random numbers: a million are sent to the device, and repeated there."""
    million = device.asarray(np.random.default_rng(0).standard_normal(2**20, np.float32) * np.float32(0.02))
    weights = device.empty((math.prod(shape),), np.float32)
    for first in range(0, len(weights), len(million)):
        weights[first : first + len(million)] = million[: len(weights) - first]
    return weights.reshape(shape)


def random_model(name: str, dtype: str) -> Model:
    """Return a model of this shape with random weights, made on the device."""
    config, ops = SHAPES[name], get_backend("cupy")
    real, dim, inner, d = ops.choose_dtype(dtype), config.hidden_size, config.intermediate_size, config.head_dim
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    ones = ops.array(np.ones(dim, real))

    def matrix(rows: int, columns: int) -> Any:
        return ops.prepare([random_weights(ops.device, columns, rows)])

    def layer() -> LayerWeights:
        qkv, output = matrix(dim, (heads + 2 * kv_heads) * d), matrix(heads * d, dim)
        return LayerWeights(
            ones, qkv, None, None, output, None, ones, matrix(dim, 2 * inner), None, matrix(inner, dim), None
        )

    head = ops.prepare([random_weights(ops.device, config.vocab_size, dim)])
    embedding = ops.embedding_of(head)
    layers = tuple(layer() for _ in range(config.num_hidden_layers))
    return Model(f"random {name}", config, ops, real, embedding, layers, ones, head, None)


def milliseconds(work: Callable[[], Any], rounds: int = 20) -> float:
    """Return the median time of several runs between two events on the device, after two runs to warm up."""
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


# The limits of the device


def bytes_per_s() -> float:
    """Measure the bandwidth of a copy of a gigabyte, counting bytes read and bytes written."""
    device = get_backend("cupy").device
    source, target = device.zeros((COPIED,), np.float32), device.empty((COPIED,), np.float32)

    def work() -> None:
        target[:] = source

    return float(2 * source.nbytes / milliseconds(work) * 1e3)


def flops_per_s(dtype: str) -> float:
    """Measure the speed of a large square product."""
    ops, size = get_backend("cupy"), PRODUCT
    ops.choose_dtype(dtype)
    if not ops.device.multiplies:
        raise LeftOut("cuBLAS is not installed")
    x = ops.prepare([random_weights(ops.device, size, size)])
    out = ops.device.empty((size, size), np.float32)
    return 2 * size**3 / milliseconds(lambda: ops.device.multiply(x, x, out, False), 5) * 1e3


# Is it correct?


def against_the_specification() -> Record:
    """Compare story in float64 with reference.py, which has neither cache nor backend."""
    need("tokenizers")
    checkpoint = open_checkpoint("story")
    model = minillm.load("story", backend="cupy", dtype="float64")
    tokens = model.tokenizer.encode(PROMPT)[:24]
    expected = reference.forward(checkpoint.config, weights_by_name(checkpoint), tokens)
    found = model.ops.to_host(minillm.forward(model, tokens))
    difference = float(np.abs(found - expected).max())
    return {"largest_difference": difference, "ok": difference < 1e-9}


def greedy_agreement(name: str) -> Record:
    """Compare the greedy tokens with those of NumPy: in float64, where rounding decides no near tie, and in float32."""
    need("tokenizers")
    if not REGISTRY[name].folder():
        raise LeftOut(f"{name} is not in the cache")
    sequences = {}
    for dtype in ("float64", "float32"):
        for backend in ("numpy", "cupy"):
            model = minillm.load(name, backend=backend, dtype=dtype)
            out = minillm.generate(model, model.tokenizer.encode(PROMPT), NEW_TOKENS, minillm.Sampling(ignore_eos=True))
            sequences[backend, dtype] = out.tokens
    same = {dtype: sequences["numpy", dtype] == sequences["cupy", dtype] for dtype in ("float64", "float32")}
    return {"same_tokens": same, "tokens": NEW_TOKENS, "ok": same["float64"]}


def run_tests(names: tuple[str, ...], *needed: str) -> Record:
    """Run tests on the real device instead of the stand-in."""
    need("pytest", "tokenizers", *needed)
    # Without the project's own pytest options: their plugins may be missing, and one process uses the device. Warnings
    # are not errors here, because CuPy warns of optional packages that are not installed.
    options = ["-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", "-o", "filterwarnings="]
    with tempfile.TemporaryDirectory() as folder:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])  # minillm need not be installed
        environment = os.environ | {"MINILLM_GPU": "1", "HYPOTHESIS_STORAGE_DIRECTORY": folder, "PYTHONPATH": path}
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *options, *names],
                cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TEST_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"ok": False, "said": f"not finished after {TEST_SECONDS} s"}
    lines = (done.stdout + done.stderr).strip().splitlines()
    return {"ok": done.returncode == 0, "said": lines[-1:] if done.returncode == 0 else lines[-30:]}


# How fast is it?


def share(done: Any, ms: float, limit: float | None) -> float | None:
    """Return the fraction of what the device could have done in that time, or None if the limit is not known."""
    return float(done) / ms * 1e3 / limit if limit else None


def prefill_row(model: Model, limits: Record, stored: str) -> Record:
    """Time the prefill of 2,048 tokens, as a share of the speed of a large product with these weights."""
    cache, prompt = minillm.KVCache(model, PREFILL_TOKENS), [7] * PREFILL_TOKENS

    def work() -> None:
        cache.truncate(0)
        minillm.prefill(model, prompt, cache)

    ms = milliseconds(work, 5)
    done = share(prefill_work(model.config, PREFILL_TOKENS).flops, ms, limits.get(f"{stored} flops_per_s"))
    return {"what": f"prefill of {PREFILL_TOKENS}", "ms": ms, "share": done}


def filled_caches(model: Model, sequences: int, paged: bool) -> list[Any]:
    """Return caches of CONTEXT tokens each, with room for the tokens that are timed."""
    pool = minillm.BlockPool(model, -(-(CONTEXT + 40) // 16) * sequences, 16) if paged else None
    caches = [minillm.PagedKVCache(pool) if pool else minillm.KVCache(model, CONTEXT + 40) for _ in range(sequences)]
    for cache in caches:
        minillm.prefill(model, [7] * CONTEXT, cache)
        cache.reserve(1)
    return caches


def decode_row(model: Model, limits: Record, stored: str, sequences: int, paged: bool) -> Record:
    """Time a decode step of `sequences` sequences of about 512 tokens, as a share of the bandwidth.

    Weights and caches are counted as read once.
    """
    caches = filled_caches(model, sequences, paged)

    def work() -> None:
        minillm.forward_batch(model, [([7], cache) for cache in caches])

    ms = milliseconds(work)
    kind = "paged" if paged else "contiguous"
    needed = decode_work(model.config, CONTEXT, sequences, 4 if stored == "float32" else 2, 4).bytes
    done = share(needed, ms, limits.get("bytes_per_s"))
    return {"what": f"decode, {sequences} x {kind}", "ms": ms, "share": done, "tokens_per_s": sequences / ms * 1e3}


def attention_row(model: Model, limits: Record, sequences: int, paged: bool) -> Record:
    """Time attention alone over contiguous or paged caches, layer after layer. Return the figures of one layer."""
    config, device = model.config, model.ops.device
    caches = filled_caches(model, sequences, paged)
    batch = model.ops.send(ragged_batch([np.array([7])] * sequences, caches, [1] * sequences))
    heads, kv_heads, layers = config.num_attention_heads, config.num_key_value_heads, config.num_hidden_layers
    q, k, v = (device.zeros((sequences, count, config.head_dim), np.float32) for count in (heads, kv_heads, kv_heads))

    def work() -> None:
        for layer in range(layers):
            model.ops.attention(q, k, v, batch, layer, None)

    ms = milliseconds(work) / layers
    needed = 2 * sequences * (CONTEXT + 1) * kv_heads * config.head_dim * 4
    kind = "paged" if paged else "contiguous"
    done = share(needed, ms, limits.get("bytes_per_s"))
    return {"what": f"attention, {sequences} x {kind}", "ms": ms, "share": done}


def speeds(name: str, stored: str, limits: Record) -> Iterator[Record]:
    """Time prefill, decode at batch sizes 1, 8 and 32, and attention alone."""
    model, common = random_model(name, stored), {"model": name, "weights": stored}
    yield common | prefill_row(model, limits, stored)
    for paged in (False, True):
        for sequences in (1, 8, 32):
            yield common | decode_row(model, limits, stored, sequences, paged)
            yield common | attention_row(model, limits, sequences, paged)


def transformers_row(name: str, stored: str) -> Iterator[Record]:
    """Time decode steps of transformers with sdpa, for one sequence and the same shape."""
    need("torch", "transformers")
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if not torch.cuda.is_available():
        raise LeftOut("torch finds no device")
    c = SHAPES[name]
    config = LlamaConfig(
        vocab_size=c.vocab_size, hidden_size=c.hidden_size, intermediate_size=c.intermediate_size,
        num_hidden_layers=c.num_hidden_layers, num_attention_heads=c.num_attention_heads,
        num_key_value_heads=c.num_key_value_heads, max_position_embeddings=c.max_position_embeddings,
        tie_word_embeddings=True, attn_implementation="sdpa",
    )  # fmt: skip
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).to(getattr(torch, stored)).eval()
        prompt, token = torch.full((1, CONTEXT), 7), torch.full((1, 1), 7)
    with torch.inference_mode():
        cache = model(prompt, use_cache=True, logits_to_keep=1).past_key_values
        times = []
        for _ in range(22):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            model(token, past_key_values=cache, use_cache=True)
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
    what = "decode, 1 x transformers, sdpa"
    yield {"model": name, "weights": stored, "what": what, "ms": median(times[2:]), "share": None}


def describe() -> Record:
    """Return the name of the device and the versions of the software."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    versions = {"python": sys.version.split()[0], "numpy": np.__version__, "cupy": cupy.__version__}
    return {"device": properties["name"].decode(), "cuda": cupy.cuda.runtime.runtimeGetVersion(), **versions}


CHECKS: dict[str, Callable[[], Record]] = {
    "specification": against_the_specification,
    "greedy text of story": partial(greedy_agreement, "story"),
    "greedy text of smollm2": partial(greedy_agreement, "smollm2"),
    "properties": partial(run_tests, PROPERTIES, "hypothesis"),
}
LIMITS = {"bytes_per_s": bytes_per_s, **{f"{kind} flops_per_s": partial(flops_per_s, kind) for kind in KINDS}}
SPEEDS = [(name, stored) for name in SHAPES for stored in ("float32", "bfloat16")]
LAST: dict[str, Callable[[], Record]] = {
    "transformers as an oracle": partial(run_tests, (ORACLE,), "hypothesis", "torch", "transformers"),
}


def check(save: Callable[[Record], None]) -> Record:
    """Run all checks and list those that were left out. `save` gets the record after each check."""
    record: Record = describe() | {"left_out": [], "checks": {}, "limits": {}, "speeds": [], "warnings": []}
    keep_check, keep_limit = record["checks"].__setitem__, record["limits"].__setitem__

    def keep_rows(_: str, rows: Iterator[Record]) -> None:
        for row in rows:
            record["speeds"].append(row)  # one by one, so that earlier rows stay if a later one fails

    parts: list[tuple[str, Callable[[], Any], Callable[[str, Any], None]]] = [
        *((name, work, keep_check) for name, work in CHECKS.items()),
        *((name, work, keep_limit) for name, work in LIMITS.items()),
        *((f"speeds of {n} in {kind}", partial(speeds, n, kind, record["limits"]), keep_rows) for n, kind in SPEEDS),
        ("speed of transformers", partial(transformers_row, "1B", "bfloat16"), keep_rows),
        *((name, work, keep_check) for name, work in LAST.items()),
    ]
    begun = monotonic()
    for name, work, keep in parts:
        attempt(name, work, keep, record, monotonic() - begun)
        save(record)
    return record


def attempt(
    name: str, work: Callable[[], Any], keep: Callable[[str, Any], None], record: Record, seconds: float
) -> None:
    """Run one check. If it cannot run, record the reason. If it fails, record the failure."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("default")
        try:
            if seconds > LAST_START_S:
                raise LeftOut("time was up")
            keep(name, work())
        except (LeftOut, MemoryError) as reason:
            record["left_out"].append(f"{name}: {reason}")
        except Exception as problem:
            record["checks"][name] = {"ok": False, "said": traceback.format_exception(problem)[-4:]}
    for said in sorted({str(warning.message) for warning in heard}):
        record["warnings"].append(f"{name}: {said}")


def show(record: Record) -> None:
    """Print the record."""
    print(f"{record['device']}, CuPy {record['cupy']}, Python {record['python']}")
    for name, result in record["checks"].items():
        print(f"{'ok    ' if result['ok'] else 'FAILED'} {name}: { ({k: v for k, v in result.items() if k != 'ok'}) }")
    print(f"{'model':10}{'weights':10}{'what':32}{'ms':>10}{'share':>8}")
    for row in record["speeds"]:
        share = "" if row["share"] is None else f"{row['share']:.0%}"
        print(f"{row['model']:10}{row['weights']:10}{row['what']:32}{row['ms']:10.3f}{share:>8}")
    for part in record["left_out"]:
        print(f"left out: {part}")
    for said in record["warnings"]:
        print(f"warning: {said}")


def main() -> int:
    """Run the checks. Return exit code 0 if all that ran are correct, 1 if not, 2 if none can run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    out = parser.parse_args().out

    def save(record: Record) -> None:
        if out:
            out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    try:
        with warnings.catch_warnings(action="ignore"):
            get_backend("cupy")
        save({})  # fails now, rather than at the end, if the file cannot be written
    except OSError as problem:
        print(f"check_gpu: {problem}", file=sys.stderr)
        return 2
    record = check(save)
    show(record)
    return 0 if all(result["ok"] for result in record["checks"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
