"""Figures of papers on what sequences share: samples and beams of a prompt, and prefixes."""

from typing import TypeAlias

import numpy as np

from minillm.evidence.papers.ledger import COUNT, SYNTHETIC, Kind, Ours, Topic, listed
from minillm.evidence.simulations.request_lengths import ALPACA_SAMPLES, SHAREGPT_SAMPLES, Trace, draw_lengths
from minillm.evidence.simulations.sharing import share_saved

topic = Topic()
VLLM, RADIX = "Kwon et al., vLLM, 2309.06180", "Zheng et al., SGLang, 2312.07104"
Tokens: TypeAlias = tuple[int, ...]


@topic.figure("vllm-parallel", VLLM, "Figure 15: 6.09, 8.53, 9.79% (Alpaca); 16.2 to 30.5% (ShareGPT)", Kind.TREND)
def vllm_parallel() -> Ours:
    """Count the blocks that 2, 4 and 6 samples of a prompt save by sharing it; within 2 points, 4 for ShareGPT."""
    saved = {name: _saved(trace) for name, trace in (("Alpaca", ALPACA_SAMPLES), ("ShareGPT", SHAREGPT_SAMPLES))}
    alpaca = np.abs(np.subtract(saved["Alpaca"], (6.09, 8.53, 9.79))).max() <= 2
    sharegpt = np.abs(np.subtract(saved["ShareGPT"], (16.2, saved["ShareGPT"][1], 30.5))).max() <= 4
    values = "; ".join(f"{name} {listed(values, 1)}%" for name, values in saved.items())
    return Ours(values, bool(alpaca and sharegpt), SYNTHETIC)


def _saved(trace: Trace) -> list[float]:
    return [100 * share_saved(draw_lengths(trace, 2000, 0), samples, 16) for samples in (2, 4, 6)]


@topic.figure(
    "vllm-beam",
    VLLM,
    "Figure 15: beams of 2, 4, 6 save 37.56, 53.13, 55.16% (Alpaca); 44.3 to 66.3% (ShareGPT)",
    Kind.TREND,
)
def vllm_beam() -> Ours:
    """Run beam search over a paged cache: more beams save more, and more than twice what samples save."""
    from minillm.evidence.claims.experiments import prompt_ids, small_model
    from minillm.evidence.papers.beam_search import beams_saved

    saved = [100 * beams_saved(small_model("exact"), prompt_ids(), width, 60, 16) for width in (2, 4, 6)]
    samples = _saved(ALPACA_SAMPLES)
    rises = saved == sorted(saved) and all(a > 2 * b for a, b in zip(saved, samples, strict=True))
    return Ours(f"{listed(saved, 1)}%", rises, "ordering, with story-draft: 60 tokens after a prompt of 14")


@topic.figure("radix-optimal", RADIX, "Theorem 3.1: longest prefix first computes every edge of the tree once")
def radix_optimal() -> Ours:
    """Draw random trees of requests, cache the last request: this order is optimal, order of arrival is not better."""
    generator, best, never_above = np.random.default_rng(0), 0, True
    for _ in range(20):
        requests = [tuple(generator.integers(0, 3, generator.integers(1, 12)).tolist()) for _ in range(30)]
        edges = len({request[:end] for request in requests for end in range(1, len(request) + 1)})
        best += _computed(_longest_prefix_first(requests)) == edges
        never_above &= _computed(requests) >= edges
    return Ours(f"every edge once in {best} of 20 trees", best == 20 and never_above, COUNT)


@topic.figure("radix-starves", RADIX, "longest prefix first can keep a request waiting forever", Kind.TREND)
def radix_starves() -> Ours:
    """Queue one request with another prefix, while each step brings a new one that shares the cached prefix."""
    waited, odd = dict[str, int | None](), (9, 9, 9)
    for name in ("longest prefix first", "first come"):
        queue: list[Tokens] = [(1, 1, 1), (1, 1, 1), odd]
        before, served = queue[0], list[Tokens]()
        for step in range(100):
            queue.append((1, 1, 1, step))
            best = max(queue, key=lambda r: _shared(r, before)) if name == "longest prefix first" else queue[0]
            queue.remove(best)
            served.append(best)
            before = best[:3]
        waited[name] = served.index(odd) if odd in served else None
    return Ours(
        f"not served in 100 steps; first come, first served: after {waited['first come']} steps",
        (waited["longest prefix first"], waited["first come"]) == (None, 2),
        "shown in a simulation; the engine serves in order of arrival",
    )


def _longest_prefix_first(requests: list[Tokens]) -> list[Tokens]:
    """Order requests: next is always the one with the longest prefix in common with the one before, which is cached."""
    waiting, order, before = list(requests), list[Tokens](), Tokens()
    while waiting:
        before = max(waiting, key=lambda request: _shared(request, before))
        waiting.remove(before)
        order.append(before)
    return order


def _computed(requests: list[Tokens]) -> int:
    """Return the tokens to compute when each request reuses the prefix it has in common with the one before."""
    return sum(len(one) - _shared(one, before) for before, one in zip([(), *requests], requests, strict=False))


def _shared(one: Tokens, other: Tokens) -> int:
    """Return the length of the common prefix."""
    same = [a == b for a, b in zip(one, other, strict=False)]
    return same.index(False) if False in same else len(same)
