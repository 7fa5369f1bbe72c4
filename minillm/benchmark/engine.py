"""Prefill, decode and batched decode of one model, in alternating rounds with the machine's limits."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm.benchmark.machine import matrix_multiply_flops, matrix_vector_bytes_per_s, peak_memory_bytes
from minillm.benchmark.peer import Peer
from minillm.benchmark.timing import Spread, seconds, spread
from minillm.config import ModelConfig
from minillm.decode import decode_step
from minillm.kv_cache import KVCache
from minillm.loading.progress import Report
from minillm.model import Model
from minillm.prefill import prefill
from minillm.transformer import forward_batch


def matrix_parameters(config: ModelConfig) -> int:
    """Weights that every token is multiplied with: all matrices and the output head, not the embedding's rows."""
    q, kv = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    attention = config.hidden_size * (2 * q + 2 * kv)
    mlp = 3 * config.hidden_size * config.intermediate_size
    return config.num_hidden_layers * (attention + mlp) + config.vocab_size * config.hidden_size


def prefill_flops(config: ModelConfig, tokens: int) -> int:
    """Multiplications and additions of a prefill: the layers for every token, attention, the head for the last one."""
    head = config.vocab_size * config.hidden_size
    linear = 2 * (matrix_parameters(config) - head) * tokens + 2 * head
    attention = 2 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * tokens * (tokens + 1)
    return linear + attention


def measure(
    model: Model,
    context: int = 512,
    new_tokens: int = 32,
    batch: int = 8,
    rounds: int = 5,
    peers: Sequence[Peer] = (),
    report: Report = lambda step, done, total: None,
) -> dict[str, Any]:
    """Median and spread of tokens per second, and the fraction of the machine's limits that was reached.

    Args:
        model: what to measure.
        context: tokens of the prefill, and the context at which decoding begins.
        new_tokens: decode steps in a round.
        batch: sequences in the batched decode.
        rounds: measurements of each figure, taken in turn.
        peers: other engines, measured in the same rounds.
        report: called with the progress.
    """
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, context)
    _engine_round(model, ids, new_tokens)  # warms up; and the peak is the engine's, before anything else is measured
    peak = peak_memory_bytes()
    for peer in peers:
        peer.measure(context, new_tokens)
    names = ["bandwidth", "matmul", "prefill", "decode", "batched"]
    names += [f"{peer.name} {phase}" for peer in peers for phase in ("prefill", "decode")]
    figures: dict[str, list[float]] = {name: [] for name in names}
    for done in range(rounds):
        report("measuring", done, rounds)
        values = [matrix_vector_bytes_per_s(), matrix_multiply_flops(), *_engine_round(model, ids, new_tokens)]
        values.append(_batched_rate(model, ids[:128], batch, new_tokens))
        for peer in peers:
            prefill_s, decode_s = peer.measure(context, new_tokens)
            values += [context / prefill_s, new_tokens / decode_s]
        for name, value in zip(names, values, strict=True):
            figures[name].append(value)
    spreads = {name: spread(values) for name, values in figures.items()}
    against = {peer.name: _compared(spreads, peer.name) for peer in peers}
    memory = {"peak_memory_bytes": peak, "peak_memory_over_weights": peak / weight_bytes(model.config)}
    return _report(model, spreads, context, new_tokens, batch) | memory | {"against": against}


def weight_bytes(config: ModelConfig) -> int:
    """Bytes of all weights in float32; the norms are not worth counting."""
    embedding = 0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size
    return 4 * (matrix_parameters(config) + embedding)


def _engine_round(model: Model, ids: Any, new_tokens: int) -> list[float]:
    """Tokens per second of a prefill, and of the decode steps behind it."""
    cache = KVCache(model, len(ids) + new_tokens)
    prefill_s = seconds(lambda: prefill(model, ids, cache))
    return [len(ids) / prefill_s, new_tokens / seconds(lambda: _decode(model, cache, new_tokens))]


def _compared(figures: dict[str, Spread], peer: str) -> dict[str, Any]:
    """A peer's figures, and how many times as fast ours are."""
    compared: dict[str, Any] = {}
    for phase in ("prefill", "decode"):
        theirs = figures[f"{peer} {phase}"]
        compared[f"{phase}_tokens_per_s"] = theirs.record()
        compared[f"{phase}_ratio"] = figures[phase].median / theirs.median
    return compared


def _decode(model: Model, cache: KVCache, steps: int) -> None:
    for _ in range(steps):
        decode_step(model, 0, cache)


def _batched_rate(model: Model, ids: Any, batch: int, steps: int) -> float:
    prompt = KVCache(model, len(ids) + steps)
    prefill(model, ids, prompt)
    caches = [prompt.fork() for _ in range(batch)]
    taken = seconds(lambda: [forward_batch(model, [([0], cache) for cache in caches]) for _ in range(steps)])
    return batch * steps / taken


def _report(model: Model, figures: dict[str, Spread], context: int, new_tokens: int, batch: int) -> dict[str, Any]:
    read_bytes = matrix_parameters(model.config) * model.dtype.itemsize
    kv_bytes = KVCache(model, 1).nbytes * (context + new_tokens // 2)  # read by a decode step, on average
    decode_limit = figures["bandwidth"].median / (read_bytes + kv_bytes)  # tokens per second
    prefill_limit = figures["matmul"].median / (prefill_flops(model.config, context) / context)
    return {
        "model": model.name,
        "backend": model.ops.name,
        "dtype": str(model.dtype),
        "context": context,
        "bandwidth_bytes_per_s": figures["bandwidth"].record(),
        "matmul_flops_per_s": figures["matmul"].record(),
        "prefill_tokens_per_s": figures["prefill"].record(),
        "decode_tokens_per_s": figures["decode"].record(),
        "batch": batch,
        "batched_decode_tokens_per_s": figures["batched"].record(),
        "decode_fraction_of_bandwidth": figures["decode"].median / decode_limit,
        "prefill_fraction_of_matmul": figures["prefill"].median / prefill_limit,
    }
