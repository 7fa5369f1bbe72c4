"""Claims of the section "Latency"."""

import numpy as np

from minillm.estimate.arrivals import poisson_times_s
from minillm.estimate.hardware import find_gpu
from minillm.estimate.models import find_model
from minillm.estimate.queueing import (
    md1_wait_s,
    mm1_wait_s,
    mmc_wait_s,
    overload_wait_s,
    simulate_queue,
    utilisation,
)
from minillm.estimate.serving import (
    LIGHT_IN_FIBRE_KM_PER_S,
    Serving,
    decode_all_s,
    decode_time,
    network_floor_s,
    prefill_time,
)
from minillm.evidence.claims.ledger import Finding, Section, Verdict, digits, finding, ms

section = Section("Latency")


@section.claim("rtt-local", "Local API (same datacenter): 1-5ms")
def rtt_local(measured_ms: float = 0.4, low_ms: float = 1.0, high_ms: float = 5.0) -> Finding:
    """Compare with pings inside a cloud provider's zone."""
    return finding(
        Verdict.TRUE if low_ms <= measured_ms <= high_ms else Verdict.IMPRECISE,
        "below 1 ms",
        f"about {measured_ms:g} ms",
        f"ping inside an AWS zone: about {measured_ms:g} ms (published measurements)",
    )


@section.claim("rtt-regional", "Regional API (same region, different datacenter): 5-20ms")
def rtt_regional(km: float = 100.0, low_ms: float = 5.0) -> Finding:
    """Compute the round trip of light in fibre between datacenters of one region."""
    floor = network_floor_s(km)
    return finding(
        Verdict.TRUE if floor * 1000 >= low_ms else Verdict.IMPRECISE,
        "1 to 3 ms",
        f"{ms(floor)} over {km:g} km; zones of one AWS region are single-digit ms apart",
        f"2 · {km:g} km / {LIGHT_IN_FIBRE_KM_PER_S:,} km/s = {ms(floor)}",
    )


@section.claim("rtt-cross", "Cross-region API: 50-200ms")
def rtt_cross(low_ms: float = 50.0, high_ms: float = 200.0) -> Finding:
    """Compute the distances that take this long by light in fibre."""
    near, far = (milliseconds / 1000 * LIGHT_IN_FIBRE_KM_PER_S / 2 for milliseconds in (low_ms, high_ms))
    return finding(
        Verdict.TRUE_IF if near <= 20_000 else Verdict.FALSE,  # half around the Earth
        "the regions are that far apart",
        f"{near:,.0f} to {far:,.0f} km",
        f"{low_ms:g} ms · 200,000 km/s / 2 = {near:,.0f} km; {high_ms:g} ms: {far:,.0f} km",
    )


@section.claim("rtt-sluggish", "A chatbot with 100ms network latency feels sluggish")
def rtt_sluggish(rtt_ms: float = 100.0, total_s: float = 2.15) -> Finding:
    """Compare with the limit at which a response feels instantaneous, and with the article's whole request."""
    share = rtt_ms / 1000 / total_s
    return finding(
        Verdict.IMPRECISE if rtt_ms <= 100 else Verdict.TRUE,
        "once per streamed reply, not once per token",
        f"0.1 s is Nielsen's limit for instantaneous; {share:.1%} of {total_s:g} s",
        f"{rtt_ms:g} ms / {total_s:g} s = {share:.1%}",
    )


@section.claim(
    "queue-110", "A server processing 100 requests per second, receiving 110 requests per second, builds a "
    "1-second queue",
    runs=True,
)  # fmt: skip
def queue_110(rate: float = 110.0, capacity: float = 100.0, seconds: int = 60) -> Finding:
    """Compute the backlog over time, by formula and on a virtual clock."""
    seconds = min(max(1, seconds), 600)
    times = poisson_times_s(rate, max(1, int(min(rate, 10_000) * seconds)), np.random.default_rng(0))
    run = simulate_queue(times, np.full(len(times), 1 / capacity))
    last = run.waits_s[-max(1, len(times) // 20) :].mean()
    steady = utilisation(rate, 1 / capacity) < 1
    return finding(
        Verdict.TRUE if steady and last > 0.9 else Verdict.FALSE,
        "no steady state: the wait grows by 0.1 s a second" if not steady else "",
        f"wait {overload_wait_s(rate, capacity, 10):g} s after 10 s, {overload_wait_s(rate, capacity, 60):g} s "
        "after 60 s; "
        f"simulated {last:.1f} s at the end of {seconds} s",
        f"backlog ({rate:g} - {capacity:g}) · t requests, wait (rate - capacity) · t / capacity",
        f"utilisation {utilisation(rate, 1 / capacity):.2f}; simulated with random arrivals: {last:.2f} s",
    )


@section.claim("queue-dominates", "Queue time dominates user-perceived latency more than computation time")
def queue_dominates(rho: float = 0.4) -> Finding:
    """Find the utilisation from which a request waits longer than it is served."""
    grid = np.arange(0.01, 1, 0.001)
    exponential = float(next(r for r in grid if mm1_wait_s(float(r), 1) > 1))
    fixed = float(next(r for r in grid if md1_wait_s(float(r), 1) > 1))
    return finding(
        Verdict.TRUE if fixed < rho < 1 else Verdict.TRUE_IF,
        'the load is high; "many production systems" cannot be checked',
        f"from utilisation {exponential:.2f} (M/M/1), {fixed:.2f} (M/D/1)",
        "M/M/1: Wq = S·rho/(1-rho) > S when rho > 1/2",
        "M/D/1: Wq = S·rho/(2·(1-rho)) > S when rho > 2/3",
    )


@section.claim("autoscaling", "auto-scaling matters: additional GPUs reduce queue depth")
def autoscaling(rate: float = 110.0, capacity: float = 100.0, gpus: int = 2) -> Finding:
    """Divide the overload of one server among several."""
    wait = mmc_wait_s(rate, 1 / capacity, gpus)
    return finding(
        Verdict.TRUE if wait < 1 else Verdict.FALSE,
        "",
        f"{rate:g}/s on {gpus} · {capacity:g}/s: mean wait {ms(wait)}",
        f"M/M/{gpus}: Erlang C / ({gpus} · {capacity:g} - {rate:g}) = {ms(wait)}; with 1 it grows without bound",
    )


@section.claim("prefill-50-h100", "A user typing a 50-token query ... Prefill: ~50ms (on H100)")
def prefill_50_h100(tokens: int = 50, claimed_ms: float = 50.0, gpu: str = "h100") -> Finding:
    """Compute both times of the pass."""
    time = prefill_time(Serving(find_model("llama-2-7b"), find_gpu(gpu)), tokens)
    return finding(
        Verdict.TRUE if 0.5 < time.seconds * 1000 / claimed_ms < 2 else Verdict.IMPRECISE,
        f"{time.seconds * 1000:.0f} ms plus overheads",
        f"{tokens} tokens: max({digits(time.compute_s * 1000)} compute, {digits(time.memory_s * 1000)} memory) ms",
    )


@section.claim("decode-10ms", "Decode: ~2 seconds (200 tokens × 10ms/token)")
def decode_10ms(tokens: int = 200, ms_per_token: float = 10.0, gpu: str = "h100") -> Finding:
    """Multiply tokens by time, and compute the bound."""
    bound = decode_time(Serving(find_model("llama-2-7b"), find_gpu(gpu)), 1).seconds * 1000
    share = bound / ms_per_token
    total = tokens * ms_per_token / 1000
    return finding(
        Verdict.TRUE_IF if abs(total - 2) < 0.05 and 0.2 < share < 0.9 else Verdict.FALSE,
        f"{share:.0%} of the bandwidth",
        f"{total:.1f} s; the bound is {bound:.1f} ms a token",
        f"{tokens} · {ms_per_token:g} ms = {total:.1f} s; {bound:.2f} / {ms_per_token:g} = {share:.0%}",
    )


@section.claim("total-2150", "Total: ~2.15 seconds")
def total_2150(prefill_ms: float = 50.0, decode_ms: float = 2000.0, network_ms: float = 100.0) -> Finding:
    """Add up the parts."""
    total = prefill_ms + decode_ms + network_ms
    return finding(
        Verdict.TRUE if abs(total - 2150) < 10 else Verdict.FALSE,
        "",
        f"{prefill_ms:g} + {decode_ms:,.0f} + {network_ms:g} = {total:,.0f} ms",
    )


@section.claim(
    "decode-dominates",
    "The decode phase dominates",
    corrects="17% for an 8,000-token prompt with 10 outputs, which holds for an A100; on the article's H100 it is 28%",
)
def decode_dominates(prompt: int = 50, new_tokens: int = 200, gpu: str = "h100") -> Finding:
    """Compute decode's share: of the article's times, and of the bounds of this request and of a long prompt."""
    serving = Serving(find_model("llama-2-7b"), find_gpu(gpu))

    def share(prompt: int, new_tokens: int) -> float:
        decode_s = decode_all_s(serving, prompt, new_tokens)
        return decode_s / (decode_s + prefill_time(serving, prompt).seconds)

    return finding(
        Verdict.TRUE_IF if share(prompt, new_tokens) > 0.5 else Verdict.FALSE,
        "outputs are long",
        f"2,000/2,150 = 93%; an 8,000-token prompt with 10 outputs {share(8000, 10):.0%} (A100 "
        f"{1 - _prefill_share_a100():.0%})",
        f"bound of {prompt} + {new_tokens} tokens: decode {share(prompt, new_tokens):.0%}",
    )


def _prefill_share_a100() -> float:
    serving = Serving(find_model("llama-2-7b"), find_gpu("a100"))
    prefill_s = prefill_time(serving, 8000).seconds
    return prefill_s / (prefill_s + decode_all_s(serving, 8000, 10))
