"""This machine as estimates need it: measured here and now, in about two seconds, with nothing else running.

A decode step is predicted from three measurements, none of which is a decode step of the model in question:

- how fast one row is multiplied with matrices of together as many bytes as the model's. The speed shows which level
  of the processor's caches, or memory, they come from;
- how long a layer takes beyond its products;
- how long a step takes beyond its layers.

The last two are measured on the bundled draft model, as it is, and made 16 times as deep by repeating its layers.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from minillm.backends import get_backend
from minillm.benchmark.machine import matmul_flops_per_s
from minillm.config import ModelConfig
from minillm.decode import decode_step
from minillm.estimate.hardware import Machine
from minillm.kv_cache.contiguous import KVCache
from minillm.loading.load import load
from minillm.model import Model
from minillm.prefill import prefill

DTYPE = np.dtype(np.float32)
MOST_BYTES = 512 * 2**20  # of matrices; these come from memory already, so more bytes change nothing
REPEATED = 16  # times as deep
STEPS = 20


def measure_machine(config: ModelConfig) -> Machine:
    """Measure this machine for a model of this config in float32."""
    layer_s, step_s = overheads_s()
    return Machine(
        name="this-machine",
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        memory_kind="RAM",
        bandwidth_bytes_per_s=products_bytes_per_s(config),
        flops_per_s=matmul_flops_per_s(DTYPE),
        overhead_s_per_layer=layer_s,
        overhead_s_per_step=step_s,
    )


def products_bytes_per_s(config: ModelConfig) -> float:
    """Return the bytes of weights per second when one row is multiplied with all matrices of such a model in turn."""
    dim, inner, d = config.hidden_size, config.intermediate_size, config.head_dim
    q, kv = config.num_attention_heads * d, config.num_key_value_heads * d
    layer = [(dim, q + 2 * kv), (q, dim), (dim, 2 * inner), (inner, dim)]
    layers = max(1, min(config.num_hidden_layers, MOST_BYTES // max(1, sum(4 * a * b for a, b in layer))))
    ops = get_backend("numpy")
    shapes = [*(layer * layers), (dim, config.vocab_size)]
    matrices = [ops.prepare([np.full(shape[::-1], 0.01, DTYPE)]) for shape in shapes]
    rows = {inner: np.ones((1, inner), DTYPE) for inner, _ in shapes}
    pairs = [(rows[inner], matrix) for (inner, _), matrix in zip(shapes, matrices, strict=True)]
    seconds = _least_s(lambda: [ops.linear(row, matrix) for row, matrix in pairs])
    return float(sum(DTYPE.itemsize * inner * out for inner, out in shapes) / seconds)


def overheads_s() -> tuple[float, float]:
    """Return the seconds of a layer beyond its products, and of a decode step beyond its layers and products."""
    shallow = load("story-draft")
    deep = deepened(shallow, REPEATED)
    beyond = [_least_s(_step_of(model)) - _least_s(partial(products, model)) for model in (shallow, deep)]
    layers = [model.config.num_hidden_layers for model in (shallow, deep)]
    layer_s = (beyond[1] - beyond[0]) / (layers[1] - layers[0])
    return max(0.0, layer_s), max(0.0, beyond[0] - layers[0] * layer_s)


def deepened(model: Model, times: int) -> Model:
    """Return a model with the same layers repeated `times` times."""
    windows = model.config.sliding_windows * times
    config = replace(model.config, num_hidden_layers=len(windows), sliding_windows=windows)
    return replace(model, config=config, layer_weights=tuple(model.layer_weights) * times)


def products(model: Model) -> None:
    """Run the matrix products of one decode step, and nothing else."""
    config, ops = model.config, model.ops
    sizes = config.hidden_size, config.num_attention_heads * config.head_dim, config.intermediate_size
    x, attention, inner = (ops.array(np.ones((1, size)), model.dtype) for size in sizes)
    for layer in model.layers():
        for row, weight in ((x, layer.qkv), (attention, layer.output), (x, layer.gate_up), (inner, layer.down)):
            ops.linear(row, weight)
    ops.linear(x, model.head)


def measure_decode(model: Model, context: int, cache_dtype: str | None = None) -> float:
    """Return the seconds of a decode step of the real model at this context."""
    return _least_s(_step_of(model, context, cache_dtype))


def _step_of(model: Model, context: int = 16, cache_dtype: str | None = None) -> Callable[[], Any]:
    """Return a function that runs a decode step at this context, as often as it is called."""
    cache = KVCache(model, context, cache_dtype)
    if context > 1:
        prefill(model, np.arange(context - 1) % model.config.vocab_size, cache)

    def step() -> None:
        decode_step(model, 0, cache)
        cache.truncate(context - 1)

    return step


def _least_s(action: Callable[[], Any]) -> float:
    """Return the least of 20 timings: other load on the machine can only make a timing longer."""
    action()
    times = []
    for _ in range(STEPS):
        started = perf_counter()
        action()
        times.append(perf_counter() - started)
    return min(times)
