"""Claims of the section "Hardware"."""

import math

from minillm.estimate.batching import decode_tokens_per_s, smallest_batch
from minillm.estimate.cost import dollars_per_million_tokens
from minillm.estimate.hardware import Machine, find_gpu
from minillm.estimate.memory import FORMATS, cache_bytes_per_token, gpus_needed, weights_bytes
from minillm.estimate.models import find_model
from minillm.estimate.parameters import matrix_parameters
from minillm.estimate.serving import Serving, decode_time, most_sequences
from minillm.evidence.claims.ledger import Finding, Section, Verdict, digits, finding, gb, ms

section = Section("Hardware")


@section.claim("weights-7b", "7B parameter model: ~14GB (in float16)")
def weights_7b(parameters: float = 7e9, bytes_each: float = 2.0, claimed_gb: float = 14.0) -> Finding:
    """Multiply parameters by bytes."""
    size = parameters * bytes_each / 1e9
    return finding(
        Verdict.TRUE if abs(size / claimed_gb - 1) < 0.05 else Verdict.FALSE,
        "",
        f"{size:.1f} GB; Llama-2-7B {weights_bytes(find_model('llama-2-7b')) / 1e9:.2f} GB",
        f"{parameters:.3g} · {bytes_each:g} B = {size:.1f} GB",
    )


@section.claim("weights-70b-200b", "70B parameter model: ~140GB ... 200B parameter model: ~400GB")
def weights_70b_200b(bytes_each: float = 2.0) -> Finding:
    """Multiply parameters by bytes."""
    sizes = [70e9 * bytes_each / 1e9, 200e9 * bytes_each / 1e9]
    return finding(
        Verdict.TRUE if abs(sizes[0] / 140 - 1) < 0.05 and abs(sizes[1] / 400 - 1) < 0.05 else Verdict.FALSE,
        "",
        f"{sizes[0]:.1f} GB (Llama-2-70B {weights_bytes(find_model('llama-2-70b')) / 1e9:.2f}), {sizes[1]:.1f} GB",
        f"70e9 · {bytes_each:g} B = {sizes[0]:.1f} GB; 200e9 · {bytes_each:g} B = {sizes[1]:.1f} GB",
    )


def _fits(parameters: float, gpu: Machine) -> Finding:
    """Compare weights in float16, the article's format, and in smaller formats with the memory of one GPU."""
    sizes = {name: parameters * FORMATS[name].bytes_each for name in ("float16", "int8", "int4")}
    needed = {name: gpus_needed(size, gpu.memory_bytes) for name, size in sizes.items()}
    shown = ", ".join(f"{name} {gb(size)} ({needed[name]} GPUs)" if needed[name] > 1 else f"{name} {gb(size)}"
                      for name, size in sizes.items())  # fmt: skip
    working = tuple(f"{name}: {parameters:.3g} parameters = {gb(size)}, {gb(gpu.memory_bytes - size)} left of "
                    f"{gb(gpu.memory_bytes)}" for name, size in sizes.items())  # fmt: skip
    fitting = [name for name, gpus in needed.items() if gpus == 1]
    return finding(
        Verdict.TRUE if "float16" in fitting else Verdict.FALSE,
        f"not in the article's float16, only in {' and '.join(fitting) or 'none'}",
        shown,
        *working,
    )


@section.claim("h100-70b", "NVIDIA H100: 80GB HBM3 (fits up to 70B models comfortably)")
def h100_70b(parameters: float = 70e9, gpu: str = "h100-sxm") -> Finding:
    """Compare the weights with the memory, in the article's float16 and in smaller formats."""
    return _fits(parameters, find_gpu(gpu))


@section.claim(
    "h200-200b",
    "NVIDIA H200: 141GB HBM3e (fits 200B models)",
    corrects="3 GPUs in float16, if all of their memory is usable; 4 with 90% of it, as elsewhere here",
)
def h200_200b(parameters: float = 200e9, gpu: str = "h200-sxm") -> Finding:
    """Compare the weights with the memory, in the article's float16 and in smaller formats."""
    return _fits(parameters, find_gpu(gpu))


@section.claim("a100-hbm2", "NVIDIA A100: 80GB HBM2 (older, less throughput than H100)")
def a100_hbm2(claimed: str = "HBM2") -> Finding:
    """Look up the datasheet's memory, and the arithmetic of both GPUs."""
    a100, h100 = find_gpu("a100"), find_gpu("h100")
    slower = a100.flops_per_s < h100.flops_per_s
    return finding(
        (Verdict.TRUE if a100.memory_kind == claimed else Verdict.IMPRECISE) if slower else Verdict.FALSE,
        "HBM2e; the card with 40 GB has HBM2",
        f"{a100.memory_bytes / 1e9:.0f} GB are {a100.memory_kind}; {a100.flops_per_s / 1e12:.0f} < "
        f"{h100.flops_per_s / 1e12:.0f} TFLOP/s",
    )


@section.claim("l40s-7b-13b", "NVIDIA L40S: 48GB GDDR6 (adequate for 7B-13B models)")
def l40s_7b_13b(model: str = "llama-2-13b", gpu: str = "l40s") -> Finding:
    """Compute what is left next to the weights of a 13B model, in tokens of KV cache."""
    serving = Serving(find_model(model), find_gpu(gpu))
    tokens = max(0, int(serving.free_bytes / serving.cache_bytes_per_token))
    return finding(
        Verdict.TRUE if tokens >= 4096 else Verdict.FALSE,
        "",
        f"{model} {gb(serving.weights_bytes)}; what is left holds {tokens:,} tokens of KV cache",
        f"({gb(serving.machine.memory_bytes * serving.usable)} usable - {gb(serving.weights_bytes)}) / "
        f"{serving.cache_bytes_per_token:,} B = {tokens:,} tokens",
    )


def _batches_for(claimed: float, context: int, gpus: tuple[str, ...], condition: str) -> Finding:
    """Find the batch at which a 7B model reaches `claimed` tokens a second on each GPU, and whether it fits."""
    servings = {gpu: Serving(find_model("llama-2-7b"), find_gpu(gpu)) for gpu in gpus}
    batches = {gpu: smallest_batch(serving, context, claimed) for gpu, serving in servings.items()}
    fits = {gpu: most_sequences(serving, context) for gpu, serving in servings.items()}
    reached = [gpu for gpu, batch in batches.items() if batch is not None and batch <= fits[gpu]]
    alone = {gpu: 1 / decode_time(serving, context).seconds for gpu, serving in servings.items()}
    return finding(
        Verdict.TRUE_IF if reached and max(alone.values()) < claimed else Verdict.TRUE if reached else Verdict.FALSE,
        condition,
        f"7B, {context} tokens: " + ", ".join(f"batch {batches[gpu] or 'none'} on {gpu}" for gpu in gpus),
        *(
            f"{gpu}: {alone[gpu]:.0f} tokens/s alone, {claimed:,.0f} from batch {batches[gpu] or 'none'}; "
            f"{fits[gpu]} fit"
            for gpu in gpus
        ),
    )


@section.claim("h100-3000", "H100: 3,000+ tokens/second, good for batch processing")
def h100_3000(claimed: float = 3000.0, context: int = 500) -> Finding:
    """Find the batches at which the bound reaches it."""
    return _batches_for(claimed, context, ("h100-sxm", "h100-pcie"), "batched")


@section.claim("l40s-1000", "L40S: 1,000+ tokens/second")
def l40s_1000(claimed: float = 1000.0, context: int = 500) -> Finding:
    """Find the batch at which the bound reaches it."""
    return _batches_for(claimed, context, ("l40s",), "batched")


@section.claim("l40s-latency", "L40S: ... faster per-token latency")
def l40s_latency(gpu: str = "l40s", other: str = "h100-sxm", model: str = "llama-2-7b") -> Finding:
    """Compare a step of one sequence on both."""
    times = [decode_time(Serving(find_model(model), find_gpu(name)), 1).seconds for name in (gpu, other)]
    return finding(
        Verdict.TRUE if times[0] < times[1] else Verdict.FALSE,
        f"{times[0] / times[1]:.1f}x slower than {other}" if times[0] > times[1] else "",
        f"{gpu} {ms(times[0])}, {other} {ms(times[1])}",
        f"13.2 GB / bandwidth: {ms(times[0])} and {ms(times[1])}",
    )


@section.claim("t4-200", "T4: 200-300 tokens/second, cheapest but slowest")
def t4_200(low: float = 200.0, high: float = 300.0, context: int = 500) -> Finding:
    """Compute what fits into a T4 in float16, and the batches that reach it in int8."""
    config, t4 = find_model("llama-2-7b"), find_gpu("t4")
    half, eighth = Serving(config, t4), Serving(config, t4, weights=FORMATS["int8"])
    fits = most_sequences(half, context)
    rate = decode_tokens_per_s(half, context, max(1, fits))
    batches = [smallest_batch(eighth, context, claimed) for claimed in (low, high)]
    holds = all(batch is not None and batch <= most_sequences(eighth, context) for batch in batches)
    return finding(
        Verdict.TRUE if rate >= low else Verdict.TRUE_IF if holds else Verdict.FALSE,
        "a 7B model is quantised",
        f"float16: {fits} sequences of {context} fit, {rate:.0f} tokens/s; int8: batch {batches[0] or 'none'} to "
        f"{batches[1] or 'none'}",
        f"float16: ({gb(t4.memory_bytes * half.usable)} - {gb(half.weights_bytes)}) / ({context} · "
        f"{half.cache_bytes_per_token:,} B) = {fits}",
        f"int8: {low:g} tokens/s from batch {batches[0] or 'none'}, {high:g} from {batches[1] or 'none'}; "
        f"{most_sequences(eighth, context)} fit",
    )


@section.claim("l40s-per-dollar", "For interactive chat, L40S might offer better latency per dollar than H100")
def l40s_per_dollar(l40s_dollars: float = 0.79, pcie_dollars: float = 1.99, sxm_dollars: float = 2.69) -> Finding:
    """Divide bandwidth, which decides a step of one sequence, by dollars per hour."""
    prices = {"l40s": l40s_dollars, "h100-pcie": pcie_dollars, "h100-sxm": sxm_dollars}
    worth = {name: find_gpu(name).bandwidth_bytes_per_s / 1e9 / price for name, price in prices.items()}
    better = [name for name in ("h100-pcie", "h100-sxm") if worth["l40s"] > worth[name]]
    return finding(
        Verdict.TRUE if len(better) == 2 else Verdict.TRUE_IF if better else Verdict.FALSE,
        "compared with " + (", ".join(better) or "none") + " only",
        "GB/s for $1/h: " + ", ".join(f"{name} {value:,.0f}" for name, value in worth.items()),
        *(f"{name}: {find_gpu(name).bandwidth_bytes_per_s / 1e9:,.0f} GB/s / ${prices[name]} = {value:,.0f}"
          for name, value in worth.items()),
    )  # fmt: skip


@section.claim("runpod-prices", "RunPod offers A100 at $1.19/hour and H100 at $1.99/hour")
def runpod_prices(a100: float = 1.19, h100: float = 1.99) -> Finding:
    """Compare with the same publisher's price table."""
    listed = [find_gpu(name).dollars_per_hour for name in ("a100-pcie", "h100-pcie")]
    return finding(
        Verdict.TRUE_IF if listed == [a100, h100] else Verdict.FALSE,
        "spot prices of the PCIe cards, March 2026",
        f"A100 PCIe ${listed[0]}, H100 PCIe ${listed[1]} (spot, March 2026)",
    )


def _cost(dollars: float, tokens_per_s: float, claimed: float) -> Finding:
    each = dollars_per_million_tokens(dollars, tokens_per_s)
    return finding(
        Verdict.TRUE if abs(each / 1000 / claimed - 1) < 0.1 else Verdict.FALSE,
        f"${each:.4f} per million",
        f"${each / 1000:.7f} per 1,000 tokens",
        f"${dollars} / 3600 s / {tokens_per_s:,.0f} tokens/s · 1000 = ${each / 1000:.7f}; the article has "
        f"${claimed:.5f}",
    )


@section.claim("a100-cost", "4,000 tokens/sec Cost: $1.19/hour = $0.00012 per 1,000 tokens")
def a100_cost(dollars: float = 1.19, tokens_per_s: float = 4000.0, claimed: float = 0.00012) -> Finding:
    """Divide the dollars of a second by its tokens."""
    return _cost(dollars, tokens_per_s, claimed)


@section.claim("h100-cost", "10,000 tokens/sec Cost: $1.99/hour = $0.00008 per 1,000 tokens")
def h100_cost(dollars: float = 1.99, tokens_per_s: float = 10_000.0, claimed: float = 0.00008) -> Finding:
    """Divide the dollars of a second by its tokens."""
    return _cost(dollars, tokens_per_s, claimed)


@section.claim(
    "seq-x-100",
    "A100 (40 sequences × 100 tokens/sec) ... H100 (100 sequences × 100 tokens/sec)",
    corrects="387 tokens on an H100 SXM, which gives 99.98 tokens/s; 386 is the longest context that gives 100",
)
def seq_x_100(context: int = 500, a100_batch: int = 40, h100_batch: int = 100, claimed: float = 100.0) -> Finding:
    """Compute the tokens per second of each sequence in these batches, and the contexts at which it is 100."""
    config = find_model("llama-2-7b")
    batches = {"a100": a100_batch, "h100-sxm": h100_batch, "h100-pcie": h100_batch}
    servings = [(Serving(config, find_gpu(name)), batch) for name, batch in batches.items()]
    each = [decode_tokens_per_s(serving, context, batch) / batch for serving, batch in servings]
    lengths = [_context_for(serving, batch, claimed) for serving, batch in servings[:2]]
    return finding(
        Verdict.TRUE if min(each[:2]) >= claimed else Verdict.TRUE_IF if min(lengths) > 0 else Verdict.FALSE,
        "short contexts or grouped-query attention",
        f"7B at {context} tokens: A100 {each[0]:.0f} each, H100 SXM {each[1]:.0f}, PCIe {each[2]:.0f}; "
        f"{claimed:g} at {lengths[0]} and {lengths[1]} tokens",
        *(f"{serving.machine.name}: {batch} sequences, {ms(decode_time(serving, context, batch).seconds)} a step = "
          f"{rate:.0f} tokens/s each" for (serving, batch), rate in zip(servings, each, strict=True)),
    )  # fmt: skip


def _context_for(serving: Serving, batch: int, tokens_per_s: float) -> int:
    """Return the longest context at which each sequence of the batch still gets `tokens_per_s`, by bytes."""
    spare = serving.machine.bandwidth_bytes_per_s / tokens_per_s - 2 * matrix_parameters(serving.config)
    return math.floor(spare / (batch * cache_bytes_per_token(serving.config)))


@section.claim("h100-cheaper", "Per token, H100 is cheaper despite higher hourly cost")
def h100_cheaper(
    a100_rate: float = 4000.0, h100_rate: float = 10_000.0, a100: float = 1.19, h100: float = 1.99
) -> Finding:
    """Compare the article's throughputs, and what bandwidth alone would give the PCIe cards of those prices."""
    cost = [dollars_per_million_tokens(price, rate) for price, rate in ((a100, a100_rate), (h100, h100_rate))]
    faster = find_gpu("h100-pcie").bandwidth_bytes_per_s / find_gpu("a100-pcie").bandwidth_bytes_per_s
    by_bandwidth = h100 / a100 / faster
    return finding(
        (Verdict.TRUE if by_bandwidth < 1 else Verdict.TRUE_IF) if cost[1] < cost[0] else Verdict.FALSE,
        f"{h100_rate / a100_rate:g}x the throughput, so compute bound; by bandwidth a token costs "
        f"{by_bandwidth:.2f}x as much",
        f"${cost[1]:.4f} and ${cost[0]:.4f} per million at the article's throughputs",
        f"by bandwidth (PCIe): {faster:.2f}x as fast at {h100 / a100:.2f}x the price: a token costs "
        f"{digits(by_bandwidth)}x as much",
    )
