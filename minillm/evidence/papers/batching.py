"""Figures of papers on batching and scheduling."""

import numpy as np

from minillm.estimate.arrivals import Arrival
from minillm.estimate.hardware import find_gpu
from minillm.estimate.memory import cache_bytes_per_token, weights_bytes
from minillm.estimate.models import find_model
from minillm.estimate.serving import Serving, most_sequences, prefill_time
from minillm.estimate.virtual_clock import simulate_serving, step_seconds
from minillm.evidence.papers.ledger import COUNT, FORMULA, Kind, Ours, Topic, listed

topic = Topic()
ORCA = "Yu et al., Orca, OSDI 2022"
SARATHI, SERVE = "Agrawal et al., Sarathi, 2308.16369", "Agrawal et al., Sarathi-Serve, 2403.02310"


@topic.figure("orca-steps", ORCA, "static: the batch waits for its longest; iteration-level: each leaves when finished")
def orca_steps() -> Ours:
    """Run outputs of 100 and 10 tokens with the engine's schedulers: steps of both, and idle slots of the batch."""
    from minillm.batching.virtual_engine import VirtualEngine, VirtualStaticBatching

    arrivals = [Arrival(0.0, 3, 100), Arrival(0.0, 3, 10)]
    static = simulate_serving([VirtualStaticBatching(2)], arrivals, lambda batch: 1.0).latency_s.tolist()
    level = simulate_serving([VirtualEngine(100)], arrivals, lambda batch: 1.0).latency_s.tolist()
    wasted = 1 - (100 + 10) / (2 * 100)
    return Ours(
        f"static {listed(static, 0)} steps, {wasted:.0%} wasted; iteration-level {listed(level, 0)}",
        (static, level) == ([100, 100], [100, 10]),
        COUNT,
    )


@topic.figure("orca-ratio", ORCA, "iteration-level scheduling serves far more than static batches", Kind.TREND)
def orca_ratio() -> Ours:
    """Count tokens per step of 120 requests of geometric lengths, mean 40, in batches of 16, by both schedulers."""
    from minillm.batching.virtual_engine import VirtualEngine, VirtualStaticBatching

    lengths = np.minimum(np.random.default_rng(0).geometric(1 / 40, 120), 400)
    arrivals = [Arrival(0.0, 1, int(new_tokens)) for new_tokens in lengths]
    static, level = (simulate_serving([server], arrivals, lambda batch: 1.0).tokens_per_s
                     for server in (VirtualStaticBatching(16), VirtualEngine(1000, 16, 16)))  # fmt: skip
    words = "direction, by the engine's scheduler; they measured 36.9 times"
    return Ours(f"{level / static:.1f} times as many tokens a step", level > 1.8 * static, words)


@topic.figure("chunk-rereads", SARATHI, "N chunks load N·(N+1)/2 chunks of the cache: 4 -> 10, 8 -> 36")
def chunk_rereads() -> Ours:
    """Count keys and values that the engine reads when it prefills in chunks, over those of one chunk."""
    from minillm.evidence.claims.experiments import small_model
    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill
    from minillm.trace.counting import counted

    loads = []
    for chunks in (4, 8):
        model, count = counted(small_model())
        prefill(model, [5] * 8 * chunks, KVCache(model, 8 * chunks), chunk=8)
        loads.append(count.cache_bytes / (8 * cache_bytes_per_token(model.config, model.dtype.itemsize)))
    return Ours(f"4 -> {loads[0]:g}, 8 -> {loads[1]:g}", loads == [10, 36], COUNT)


@topic.figure(
    "piggyback-ratio", SARATHI, "batch 4: chunk 128 -> 42, chunk 256 -> 84 prefill tokens for each decode token"
)
def piggyback_ratio() -> Ours:
    """Compute C / (B - 1): all decodes of a batch of B ride along with chunks of C."""
    ratios = [chunk / (4 - 1) for chunk in (128, 256)]
    cut = int(ratios[0])
    return Ours(listed(ratios, 1), (cut, 2 * cut) == (42, 84), f"{FORMULA}; 42 is rounded down, and 84 is twice that")


@topic.figure("sarathi-batch", SARATHI, "largest batch: (GPU memory - weights) / (longest sequence · bytes of a token)")
def sarathi_batch() -> Ours:
    """Compute it for Llama-2 7B on an A100 with sequences of 2,048 tokens, and by the engine's own rule."""
    config, a100 = find_model("llama-2-7b"), find_gpu("a100")
    formula = int((a100.memory_bytes - weights_bytes(config)) // (2048 * cache_bytes_per_token(config)))
    fit = most_sequences(Serving(config, a100, usable=1.0), 2048)
    return Ours(
        f"{formula}; {most_sequences(Serving(config, a100), 2048)} in 90% of the memory", formula == fit, FORMULA
    )


@topic.figure("sarathi-stall", SERVE, "decodes never wait for a prefill", Kind.TREND)
def sarathi_stall() -> Ours:
    """Simulate the longest pause of a running answer when a prompt of 4,000 tokens arrives, whole or in chunks."""
    from minillm.batching.virtual_engine import VirtualEngine

    serving = Serving(find_model("llama-2-7b"), find_gpu("a100"))
    arrivals = [Arrival(0.0, 10, 60), Arrival(0.1, 4000, 1)]
    pauses = [
        simulate_serving([VirtualEngine(1000, 16, budget)], arrivals, step_seconds(serving)).longest_gap_s
        for budget in (8000, 256)
    ]
    prompt_s = prefill_time(serving, 4000).seconds
    return Ours(
        f"whole {1000 * pauses[0]:.0f} ms (the prompt takes {1000 * prompt_s:.0f} ms), in chunks "
        f"{1000 * pauses[1]:.0f} ms",
        pauses[0] >= 0.95 * prompt_s and pauses[1] < pauses[0] / 5,
        "on a virtual clock, with the engine's scheduler",
    )
