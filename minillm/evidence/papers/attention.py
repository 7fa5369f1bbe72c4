"""Figures of papers on attention."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from minillm.config import ModelConfig
from minillm.estimate.hardware import find_gpu
from minillm.estimate.memory import cache_bytes_per_token
from minillm.estimate.models import find_model
from minillm.estimate.parameters import head_parameters, layers_parameters, matrix_parameters
from minillm.estimate.serving import Serving, decode_time
from minillm.estimate.units import Number
from minillm.estimate.work import decode_work
from minillm.evidence.papers.ledger import COUNT, FORMULA, Kind, Ours, Topic, listed

topic = Topic()
MILAKOV = "Milakov, Gimelshein, Online normalizer calculation for softmax, 1805.02867"
FLASH = "Dao et al., FlashAttention, 2205.14135, and FlashAttention-2, 2307.08691"
MQA, GQA = "Shazeer, Fast Transformer Decoding, 1911.02150", "Ainslie et al., GQA, 2305.13245"
INVARIANCE = "He et al., Defeating Nondeterminism in LLM Inference, 2025"


@topic.figure("online-equals-offline", MILAKOV, "equal in exact arithmetic")
def online_equals_offline() -> Ours:
    """Compute maximum and normaliser of random scores in one pass over segments, and in two passes over all scores."""
    scores = np.random.default_rng(0).normal(0, 5, 4096)
    largest, total = -np.inf, 0.0
    for segment in np.split(scores, 64):
        new = max(largest, float(segment.max()))
        total = total * float(np.exp(largest - new)) + float(np.exp(segment - new).sum())
        largest = new
    offline = float(np.exp(scores - scores.max()).sum())
    error = abs(total / offline - 1)
    return Ours("equal to 1e-14" if error < 1e-14 else f"relative difference {error:.0e}", error < 1e-14, FORMULA)


@topic.figure("fa-flops", FLASH, "4·N²·d·H forward, half of it when causal; backward 2.5 times that")
def fa_flops() -> Ours:
    """Count N = 4,096, d = 128, 16 heads, causal: a loop over T by T tiles does (T + 1) / T, and so does the engine."""
    n, d, heads, tiles = 4096, 128, 16, 32
    causal = 4 * n**2 * d * heads / 2
    size = n // tiles
    looped = sum(4 * size * size * (row + 1) * d * heads for row in range(tiles))  # tiles up to the diagonal
    ratio, (engine_tiles, counted_ratio) = looped / causal, _tiles_and_share_of_causal()
    backward = 5 / 2  # products of N by N and d: the scores again, and the gradients of P, Q, K and V
    return Ours(
        f"{causal / 1e9:.1f} GFLOP; {tiles} tiles {ratio:.4f} of it, the engine's {engine_tiles:g} tiles "
        f"{counted_ratio:g}; backward 5 products for 2: {backward:g} times",
        ratio == (tiles + 1) / tiles and counted_ratio == (engine_tiles + 1) / engine_tiles,
        COUNT,
    )


def _tiles_and_share_of_causal() -> tuple[float, float]:
    """Count in the engine's fast backend: the number of query tiles, and attention's operations over 2·N²·d·H."""
    from minillm.backends.fast import QUERY_TILE
    from minillm.evidence.claims.experiments import small_model
    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill
    from minillm.trace.counting import counted

    tokens, (model, count) = 4 * QUERY_TILE, counted(small_model())
    prefill(model, [5] * tokens, KVCache(model, tokens))
    config = model.config
    linear = 2 * layers_parameters(config) * tokens + 2 * head_parameters(config)
    causal = 2 * tokens**2 * config.head_dim * config.num_attention_heads * config.num_hidden_layers
    return tokens / QUERY_TILE, (count.flops - linear + count.masked_flops) / causal


@topic.figure("fa-io", FLASH, "standard attention moves Θ(N·d + N²) numbers, FlashAttention Θ(N²·d²/M)")
def fa_io() -> Ours:
    """Count numbers moved between slow and fast memory: N = 1,024, d = 64, a fast memory of 50,000 numbers."""
    n, d, fast = 1024, 64, 50_000
    keys = -(-fast // (4 * d))  # of a tile
    queries, flash = min(keys, d), 0
    for first_key in range(0, n, keys):
        flash += 2 * d * min(keys, n - first_key)  # keys and values once
        for first in range(0, n, queries):  # reads query, output and two statistics; writes the last three of them
            flash += min(queries, n - first) * (3 * d + 4)
    assert flash == 2 * n * d + -(-n // keys) * (3 * n * d + 4 * n)
    standard = 4 * n**2 + 4 * n * d
    return Ours(
        f"{flash / 1e6:.2f} M against {standard / 1e6:.2f} M, {standard / flash:.1f} times fewer",
        flash < standard / 3,
        COUNT,
    )


@topic.figure("mqa-intensity", MQA, "bytes per operation: MHA Θ(n/D + 1/B), MQA Θ(1/D + n/(D·H) + 1/B)")
def mqa_intensity() -> Ours:
    """Count bytes of cache and of weights per operation of a decode step's products, with all KV heads and with one."""
    many = find_model("llama-2-7b")
    one = replace(many, num_key_value_heads=1)

    def per_flop(config: ModelConfig, context: int, batch: int) -> tuple[Number, Number]:
        work = decode_work(config, context, batch)
        linear = 2 * batch * matrix_parameters(config)
        return work.cache_bytes / linear, work.weight_bytes / linear

    (cache, weights), longer, wider = per_flop(many, 1000, 64), per_flop(many, 2000, 64), per_flop(many, 1000, 128)
    doubled, halved = longer[0] / cache, wider[1] / weights
    fewer = decode_work(many, 1000, 64).cache_bytes / decode_work(one, 1000, 64).cache_bytes
    same = (longer[1], wider[0], per_flop(one, 2000, 64)[0] / per_flop(one, 1000, 64)[0]) == (weights, cache, doubled)
    return Ours(
        f"cache: twice the context {doubled:.1f} times the bytes, one KV head 1/{fewer:.0f} of them; weights: twice "
        f"the batch {halved:.1f} times",
        (doubled, halved, fewer) == (2, 0.5, many.num_attention_heads) and same,
        f"{COUNT}, except for 1/D, the activations, which estimates leave out",
    )


@topic.figure("gqa-cache", GQA, "the cache shrinks by heads / KV heads: Llama-2 70B 8 times")
def gqa_cache() -> Ours:
    """Count the bytes of a token in float16, for the model as it is and with one KV head for each head."""
    config = find_model("llama-2-70b")
    grouped = cache_bytes_per_token(config)
    full = cache_bytes_per_token(replace(config, num_key_value_heads=config.num_attention_heads))
    return Ours(f"{grouped:,} against {full:,} B, {full / grouped:g} times", full / grouped == 8, COUNT)


@topic.figure(
    "fa-memory", FLASH, "memory besides inputs and output grows with N, standard attention's with N²", Kind.TREND
)
def fa_memory() -> Ours:
    """Trace the peak memory of attention: in tiles at 8,192 tokens over 2,048, naive at 2,048 over 512."""
    from minillm.attention import attend
    from minillm.backends import get_backend

    tiles = get_backend("numpy").attend
    tiled, naive = (
        _peak_bytes(tiles, 8192) / _peak_bytes(tiles, 2048),
        _peak_bytes(attend, 2048) / _peak_bytes(attend, 512),
    )
    return Ours(
        f"4 times the tokens: {tiled:.1f} times the memory in tiles, {naive:.1f} times with naive attention",
        3.5 <= tiled <= 4.5 and naive > 13,
        "range, of the engine's own attention",
    )


def _peak_bytes(attend: Any, tokens: int) -> int:
    """Return the peak besides its inputs, which have two heads in float32."""
    import tracemalloc

    q, k, v = np.ones((3, 2, tokens, 32), np.float32)
    tracemalloc.start()
    attend(q.swapaxes(0, 1), [(k, v)], 0, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@topic.figure("gqa-shape", GQA, "a decode step: MQA is fastest, GQA close to it, MHA slowest", Kind.TREND)
def gqa_shape() -> Ours:
    """Estimate steps of Llama-2 7B on an A100 with 32, 8 and 1 KV heads: roofline, at two contexts and batch 16."""
    steps = {}
    for kv_heads in (1, 8, 32):
        serving = Serving(replace(find_model("llama-2-7b"), num_key_value_heads=kv_heads), find_gpu("a100"))
        steps[kv_heads] = [1000 * decode_time(serving, context, 16).seconds for context in (1000, 8000)]
    gaps = [steps[32][at] / steps[1][at] for at in (0, 1)]
    return Ours(
        "; ".join(
            f"{name} {listed(steps[kv_heads], 1)} ms" for name, kv_heads in (("MQA", 1), ("GQA-8", 8), ("MHA", 32))
        ),
        all(steps[1][at] <= steps[8][at] < steps[32][at] for at in (0, 1)) and gaps[1] > gaps[0],
        "ordering, and the gap grows with the context: by the roofline, at 1,000 and 8,000 tokens",
    )


RUNS, FAST_RUNS = 1000, 200  # 200 are enough to show different rows


@topic.figure("invariance-ours", INVARIANCE, "1 distinct completion of 1,000 with batch-invariant kernels, 80 without")
def invariance_ours() -> Ours:
    """Run one prompt in random chunks, with 0 to 31 sequences that come and go: distinct rows of logits by backend."""
    exact, fast = _distinct_rows("exact", RUNS), _distinct_rows("numpy", FAST_RUNS)
    return Ours(
        f"{exact} distinct of {RUNS:,} runs on the exact backend, {'more' if fast > 1 else fast} on the fast one",
        exact == 1 < fast,
        "on our model; rows of logits are compared, to the bit",
        (f"numpy backend, on this machine: {fast} distinct of {FAST_RUNS:,}",),
    )


def _distinct_rows(backend: str, runs: int) -> int:
    from minillm.evidence.claims.experiments import prompt_ids, small_model
    from minillm.kv_cache.contiguous import KVCache
    from minillm.transformer import forward_batch

    model, prompt, generator = small_model(backend), prompt_ids(), np.random.default_rng(0)
    rows = set()
    for _ in range(runs):
        mine, others = KVCache(model, len(prompt)), list[KVCache]()
        cuts = sorted({0, len(prompt), *generator.integers(1, len(prompt), generator.integers(0, 3)).tolist()})
        for start, end in pairwise(cuts):
            stay = [cache for cache in others if generator.random() < 0.5]
            others = [*stay, *(KVCache(model, 3) for _ in range(generator.integers(0, 32 - len(stay))))]
            batch = [(generator.integers(0, 500, 1), cache) for cache in others]
            logits = forward_batch(model, [*batch, (prompt[start:end], mine)])
        rows.add(logits[-1].tobytes())
    return len(rows)
