"""Figures of papers on batching and scheduling."""

from minillm.estimate.arrivals import Arrival
from minillm.estimate.hardware import find_gpu
from minillm.estimate.models import find_model
from minillm.estimate.papers.ledger import COUNT, FORMULA, Kind, Ours, Topic, listed
from minillm.estimate.serving import Serving, prefill_time
from minillm.estimate.virtual_clock import simulate_serving, step_seconds

topic = Topic()
ORCA = "Yu et al., Orca, OSDI 2022"
SARATHI, SERVE = "Agrawal et al., Sarathi, 2308.16369", "Agrawal et al., Sarathi-Serve, 2403.02310"


@topic.figure("orca-steps", ORCA, "static: the batch waits for its longest; iteration-level: each leaves when finished")
def orca_steps() -> Ours:
    """Outputs of 100 and 10: steps of both, and idle places, with the schedulers of the engine."""
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


@topic.figure("chunk-rereads", SARATHI, "N chunks load N·(N+1)/2 chunks of the cache: 4 -> 10, 8 -> 36")
def chunk_rereads() -> Ours:
    """Chunks of keys and values that each chunk's queries see, added up."""
    loads = [sum(seen for seen in range(1, chunks + 1)) for chunks in (4, 8)]
    return Ours(f"4 -> {loads[0]}, 8 -> {loads[1]}", loads == [10, 36], COUNT)


@topic.figure(
    "piggyback-ratio", SARATHI, "batch 4: chunk 128 -> 42, chunk 256 -> 84 prefill tokens for each decode token"
)
def piggyback_ratio() -> Ours:
    """C / (B - 1): all decodes of a batch of B ride along with chunks of C."""
    ratios = [chunk / (4 - 1) for chunk in (128, 256)]
    close = all(abs(ours - theirs) < 1.5 for ours, theirs in zip(ratios, (42, 84), strict=True))
    return Ours(listed(ratios, 1), close, f"{FORMULA}, rounded down")


@topic.figure("sarathi-stall", SERVE, "decodes never wait for a prefill", Kind.TREND)
def sarathi_stall() -> Ours:
    """The longest pause of a running answer when a prompt of 4,000 tokens arrives, whole and in chunks of 256."""
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
