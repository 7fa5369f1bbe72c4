"""Figures of papers on the memory of the KV cache."""

from collections.abc import Callable
from dataclasses import astuple
from functools import cache, partial

import numpy as np

from minillm.estimate.memory import cache_bytes_per_token
from minillm.estimate.models import find_model
from minillm.estimate.units import GIB
from minillm.evidence.papers.ledger import COUNT, FORMULA, SYNTHETIC, Kind, Ours, Topic, listed
from minillm.evidence.simulations.fragmentation import (
    Memory,
    Paging,
    Request,
    Reservation,
    Usage,
    max_reservation,
    oracle_reservation,
    pow2_reservation,
    simulate,
)
from minillm.evidence.simulations.request_lengths import SHAREGPT, draw_lengths

topic = Topic()
VLLM = "Kwon et al., vLLM, 2309.06180"
OPT = {"13B": (40, 5120), "66B": (64, 9216), "175B": (96, 12288)}  # layers, hidden size; a KV head for each head
SLOTS = 15_728  # of OPT-13B in 12 GiB


def opt_token_bytes(size: str) -> int:
    """Return the bytes of one token's keys and values, in float16."""
    layers, hidden_size = OPT[size]
    return 2 * hidden_size * layers * 2


@topic.figure("kv-size", "model configs", "Llama-2 7B 524,288, Llama-3 8B 131,072, Llama-2 and Llama-3 70B 327,680 B")
def kv_size() -> Ours:
    """Compute the bytes of a token, 2·L·G·d·b in float16."""
    sizes = [cache_bytes_per_token(find_model(name)) for name in
             ("llama-2-7b", "llama-3-8b", "llama-2-70b", "llama-3-70b")]  # fmt: skip
    return Ours(", ".join(f"{size:,}" for size in sizes), sizes == [524_288, 131_072, 327_680, 327_680], FORMULA)


@topic.figure("vllm-kv-token", VLLM, "OPT-13B: 800 KB a token, 1.6 GB for 2,048 (KiB and GiB)")
def vllm_kv_token() -> Ours:
    """Compute 2·5120·40·2."""
    each = opt_token_bytes("13B")
    whole = 2048 * each / GIB
    return Ours(
        f"{each:,} B = {each / 1024:g} KiB; {whole:.1f} GiB", (each / 1024, round(whole, 1)) == (800, 1.6), FORMULA
    )


@topic.figure("vllm-slots", VLLM, "Table 1: 13B 15.7K, 66B 9.7K, 175B 60.1K slots in 12, 21, 264 GB")
def vllm_slots() -> Ours:
    """Divide the cache memory in GiB by the bytes of a token."""
    slots = {size: gib * GIB // opt_token_bytes(size) for size, gib in (("13B", 12), ("66B", 21), ("175B", 264))}
    rounded = [round(slots[size] / 1000, 1) for size in ("13B", "175B")]
    return Ours(
        ", ".join(f"{size} {count:,.0f}" for size, count in slots.items()),
        rounded == [15.7, 60.1],
        f"{FORMULA}; for 66B the paper prints 9.7K, so its 21 GB is rounded",
    )


@topic.figure("vllm-fig3", VLLM, "A: 7 + 1 + 2 + 2,038 of 2,048; B: 3 + 1 + 1 + 507 of 512")
def vllm_fig3() -> Ours:
    """Count stored, reserved and never used slots of the two requests of Figure 3, as the simulation of waste does."""
    parts = []
    for prompt, generated, to_come, slots in ((7, 1, 2, 2048), (3, 1, 1, 512)):
        memory = Reservation(slots, lambda prompt, output, slots=slots: slots)  # type: ignore[misc]
        request = Request(prompt, generated + to_come, stored=prompt + generated)
        assert memory.admit(request)
        usage = memory.usage([request])
        parts.append((usage.stored, usage.reserved, usage.internal))
    return Ours(f"A {parts[0]}, B {parts[1]}", parts == [(8, 2, 2038), (4, 1, 507)], COUNT)


@topic.figure("vllm-max-batch", VLLM, "Figures 13 and 2: 7.00 batched requests and 8.9% external waste for Max")
def vllm_max_batch() -> Ours:
    """Count how many reservations of 2,048 fit, and what is left."""
    slots = 12 * GIB / opt_token_bytes("13B")
    batch = int(slots // 2048)
    rest = 100 * (1 - batch * 2048 / slots)
    return Ours(f"{batch}, {rest:.1f}%", (batch, round(rest, 1)) == (7, 8.9), COUNT)


@topic.figure("vllm-max-split", VLLM, "Figure 2, Max: 20.4 / 13.3 / 57.3 / 8.9%")
def vllm_max_split() -> Ours:
    """Assume r = 299 tokens still to come, the one number that is fitted."""
    prompt, r, slots = 161.31, 299, 15_728.6
    stored, reserved, external = 7 * (prompt + r) / slots, 7 * r / slots, 1 - 7 * 2048 / slots
    parts = [100 * part for part in (stored, reserved, 1 - stored - reserved - external, external)]
    close = all(abs(a - b) < 0.15 for a, b in zip(parts, (20.4, 13.3, 57.3, 8.9), strict=True))
    return Ours(f"{listed(parts, 1)}%", close, f"{FORMULA}, one number fitted")


@topic.figure("vllm-tail-waste", VLLM, "at most one block a sequence")
def vllm_tail_waste() -> Ours:
    """Average the empty slots of the last block of 16 over all lengths: (B - 1) / 2."""
    waste = float((-np.arange(1, 16 * 64 + 1) % 16).mean())
    return Ours(f"{waste:g} slots", waste == 7.5, COUNT)


@cache
def usages() -> dict[str, Usage]:
    """Return the mean usage of the memory under the four ways to allocate it: OPT-13B, ShareGPT's lengths."""
    from minillm.kv_cache.blocks import BlockAllocator

    reservations = {"Max": max_reservation, "Pow2": pow2_reservation, "Oracle": oracle_reservation}
    found = {
        name: _mean_usage(partial(Reservation, SLOTS, reserve), 6, 10_000) for name, reserve in reservations.items()
    }
    return found | {"paged": _mean_usage(lambda: Paging(BlockAllocator(SLOTS // 16, 16)), 3, 4000)}


def _mean_usage(make: Callable[[], Memory], runs: int, steps: int) -> Usage:
    """Average over runs with different lengths."""
    usages = [astuple(simulate(make(), draw_lengths(SHAREGPT, 1500, seed), steps, 1500)) for seed in range(runs)]
    return Usage(*(float(np.mean(values)) for values in zip(*usages, strict=True)))


def _utilisation(name: str, published: tuple[float, ...], points: int) -> Ours:
    usage = usages()[name]
    parts = [100 * float(part) for part in (usage.stored, usage.reserved, usage.internal, usage.external)]
    close = all(abs(ours - theirs) <= points for ours, theirs in zip(parts, published, strict=False))
    return Ours(f"{listed(parts, 1)}%", close, f"{SYNTHETIC}, within {points} points")


@topic.figure(
    "vllm-util-max",
    VLLM,
    "Figure 2, Max: 20.4 / 13.3 / 57.3 / 8.9% stored / reserved / internal / external",
    Kind.TREND,
)
def vllm_util_max() -> Ours:
    """Simulate: every request reserves 2,048 slots."""
    return _utilisation("Max", (20.4, 13.3, 57.3, 8.9), 3)


@topic.figure("vllm-util-pow2", VLLM, "Figure 2, Pow2: 26.8 / 17.9 / 13.6 / 41.6%", Kind.TREND)
def vllm_util_pow2() -> Ours:
    """Simulate: outputs are reserved up to the next power of two."""
    return _utilisation("Pow2", (26.8, 17.9, 13.6, 41.6), 7)


@topic.figure("vllm-util-oracle", VLLM, "Figure 2, Oracle: 38.2 / 25.2 / 0 / 36.6%", Kind.TREND)
def vllm_util_oracle() -> Ours:
    """Simulate: outputs are known beforehand."""
    return _utilisation("Oracle", (38.2, 25.2, 0.0, 36.6), 3)


@topic.figure("vllm-util-paged", VLLM, "Figure 2, vLLM: 96.3% stored", Kind.TREND)
def vllm_util_paged() -> Ours:
    """Simulate with the engine's own block allocator: less than 4% is wasted."""
    stored = 100 * float(usages()["paged"].stored)
    return Ours(f"{stored:.1f}%", stored > 96, SYNTHETIC)


@topic.figure("vllm-batch", VLLM, "Figure 13a: mean batch 7.00, 9.81, 13.62, 30.42", Kind.TREND)
def vllm_batch() -> Ours:
    """Take the mean batch of the same simulations: within 15%, and the ordering is exact."""
    batches = [float(usage.requests) for usage in usages().values()]
    close = all(abs(ours / theirs - 1) < 0.15 for ours, theirs in zip(batches, (7, 9.81, 13.62, 30.42), strict=True))
    return Ours(listed(batches, 1), close and batches == sorted(batches), SYNTHETIC)


@topic.figure(
    "vllm-swap", VLLM, "section 7.3: swapping costs less in larger blocks; recomputing costs the same", Kind.TREND
)
def vllm_swap() -> Ours:
    """Count the copies that swap out a scattered sequence of 128 tokens, and the operations that recompute it."""
    counts = {size: _copies_and_flops(size) for size in (1, 4, 16, 64)}
    copies, flops = zip(*counts.values(), strict=True)
    return Ours(
        f"blocks of 1, 4, 16, 64 tokens: {', '.join(map(str, copies))} copies; {flops[0] / 1e6:.1f} MFLOP in each",
        list(copies) == sorted(copies, reverse=True) and copies[0] > 50 * copies[-1] and len(set(flops)) == 1,
        "counted in the engine: each copy takes a fixed time besides its bytes; that both take equally long for "
        "blocks of 16 to 64 was measured on their GPU",
    )


def _copies_and_flops(block_size: int, tokens: int = 128) -> tuple[int, int]:
    """Count copies of keys and values if no two of a sequence's blocks are neighbours, and its prefill's operations."""
    from minillm.evidence.claims.experiments import small_model
    from minillm.kv_cache.block_table import slot_ranges
    from minillm.kv_cache.paged import BlockPool, PagedKVCache
    from minillm.prefill import prefill
    from minillm.trace.counting import counted

    model, count = counted(small_model())
    cache = PagedKVCache(BlockPool(model, 2 * tokens // block_size, block_size))
    blocks = cache.pool.allocate(2 * tokens // block_size)
    cache.table = blocks[::2]
    cache.pool.free(blocks[1::2])
    prefill(model, [5] * tokens, cache)
    return 2 * len(slot_ranges(cache.table, block_size, 0, tokens)), count.flops
