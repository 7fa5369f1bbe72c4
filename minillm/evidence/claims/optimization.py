"""Claims of the section "Optimization"."""

from functools import cache
from typing import Any

from minillm.estimate.hardware import find_gpu
from minillm.estimate.memory import FORMATS
from minillm.estimate.models import find_model
from minillm.estimate.parameters import matrix_parameters
from minillm.estimate.serving import Serving, prefill_time
from minillm.estimate.sharding import tensor_parallel_bytes_sent
from minillm.estimate.streaming import streamed_seconds_per_token
from minillm.evidence.claims.experiments import prompt_ids, small_model, watched_passes
from minillm.evidence.claims.ledger import Finding, Section, Verdict, digits, finding, gb
from minillm.evidence.cut_models import idle_share, tensor_parallel_pass

section = Section("Optimization")


@section.claim("quant-sizes", "from float32 (4 bytes per weight) to int8 (1 byte) or int4 (0.5 bytes)", runs=True)
def quant_sizes(parameters: float = 7e9, float32: float = 4.0, int8: float = 1.0, int4: float = 0.5) -> Finding:
    """Compare the bytes of a weight as claimed, and as stored with and without scales, in the engine too."""
    step = {weights: _decode_step(weights) for weights in ("float32", "int8", "int4")}
    kept = {weights: 4 * read / step["float32"][0] for weights, (read, _) in step.items()}  # bytes of a weight
    sizes = {name: FORMATS[name].bytes_each for name in ("float32", "float16", "int8", "int4", "q4_0")}
    return finding(
        Verdict.TRUE_IF
        if [sizes[name] for name in ("float32", "int8", "int4")] == [float32, int8, int4]
        else Verdict.FALSE,
        "scales are not counted; models are served in float16",
        f"float32 {gb(parameters * sizes['float32'])}, float16 {gb(parameters * sizes['float16'])}; "
        f"Q4_0 with scales {8 * sizes['q4_0']:g} bit = {sizes['q4_0']} B; "
        "in the engine, with scales and a head in int8 at least, "
        + ", ".join(f"{weights} {each:.4g} B" for weights, each in kept.items()),
        *(f"{name}: {value:g} B a weight, {gb(parameters * value)}" for name, value in sizes.items()),
        "Q4_0: 4 bits and a 16-bit scale for 32 weights: 4 + 16/32 = 4.5 bits",
        "the engine's int4 has a minimum too: 4 + 2 · 16/32 = 5 bits",
    )


@cache
def _decode_step(weights: str) -> tuple[int, int]:
    """Return the bytes of weights and the operations of a decode step of the engine, with weights in this format."""
    from minillm.decode import decode_step
    from minillm.kv_cache.contiguous import KVCache
    from minillm.trace.counting import counted

    model, count = counted(small_model("plain", weights))
    decode_step(model, 5, KVCache(model, 1))
    return count.weight_bytes, count.flops


@section.claim("quant-compute", "Quantization ... reducing memory and compute requirements", runs=True)
def quant_compute(model: str = "llama-2-7b", weight_bytes: float = 1.0, int8_arithmetic: int = 0) -> Finding:
    """Compare weight-only quantisation: the same multiplications, of weights that are converted back to floats."""
    weights, a100 = matrix_parameters(find_model(model)), find_gpu("a100")
    faster = a100.int8_ops_per_s / a100.flops_per_s if int8_arithmetic else 1.0
    smaller = 2 / weight_bytes
    steps = {weights: _decode_step(weights) for weights in ("float32", "int8", "int4")}
    same = len({flops for _, flops in steps.values()}) == 1
    read = ", ".join(f"{weights} {bytes_ / 1e3:,.0f} kB" for weights, (bytes_, _) in steps.items())
    return finding(
        Verdict.FALSE if smaller <= 1 or not same else Verdict.TRUE if faster > 1 else Verdict.IMPRECISE,
        "memory is reduced; compute only with int8 arithmetic",
        f"weight-only int8: {gb(weights * weight_bytes)} instead of {gb(2 * weights)} a step, the same "
        f"{2 * weights:.3g} FLOP; counted in the engine: {read} a step, "
        + ("the same operations" if same else "different operations"),
        f"bytes: {weights:,} · {weight_bytes:g} instead of · 2; operations: 2 · {weights:,} either way, on an A100 "
        f"{faster:g} times as fast",
        *(f"story-draft, a decode step in {w}: {read:,} B, {flops:,} FLOP" for w, (read, flops) in steps.items()),
    )


@section.claim("quant-2-4x", "2-4x faster inference")
def quant_2_4x(low: float = 2.0, high: float = 4.0) -> Finding:
    """Compute the ratio of bytes, which bounds decode at small batches, and compare with measurements."""
    half = FORMATS["float16"].bytes_each
    bounds = {name: half / FORMATS[name].bytes_each for name in ("int8", "int4", "q4_0")}
    measured = {"int8": 1.48, "int4": 1.88}  # gpt-fast's README, Llama-2-7B, A100 80 GB, batch 1
    reached = low <= min(measured.values()) and max(measured.values()) <= high
    return finding(
        Verdict.TRUE if reached else Verdict.IMPRECISE,
        "these are upper bounds, for decode at small batches",
        f"bound by bytes {bounds['int8']:.1f}, {bounds['int4']:.1f} ({bounds['q4_0']:.2f} with scales); "
        f"measured {measured['int8']}, {measured['int4']} (gpt-fast)",
        "2 / 1 = 2.0; 2 / 0.5 = 4.0; 2 / 0.5625 = 3.56; LLM.int8 can be slower than float16",
    )


@section.claim("quant-14-35", "Quantized 7B model: 14GB → 3.5GB VRAM, fits on L40S (48GB)")
def quant_14_35(parameters: float = 7e9, bytes_each: float = 0.5) -> Finding:
    """Multiply parameters by bytes, with and without scales."""
    size, scaled = parameters * bytes_each, parameters * FORMATS["q4_0"].bytes_each
    l40s = find_gpu("l40s").memory_bytes
    return finding(
        Verdict.TRUE_IF if abs(size / 3.5e9 - 1) < 0.03 and size < l40s else Verdict.FALSE,
        "in int4; float16 fits an L40S as well",
        f"{gb(size)}; {gb(scaled)} with scales; float16 {gb(2 * parameters)} of {gb(l40s)}",
        f"{parameters:.3g} · {bytes_each:g} B = {gb(size)}; · 0.5625 B = {gb(scaled)}",
    )


@section.claim("quant-loss", "Tradeoff: slight accuracy loss", runs=True)
def quant_loss(bits: int = 8, model: str = "story", tokens: int = 120) -> Finding:
    """Compare what a model predicts in a text of its own with rounded weights; and compute the error of `bits` bits."""
    from minillm.evidence.claims.losses import losses, signal_to_error

    decibels = signal_to_error(min(max(2, bits), 16))
    found = losses(model, min(max(2, tokens), 400))
    half, quarter = found["int8"].kl_divergence, found["int4"].kl_divergence
    lines = [
        f"{weights}: KL {each.kl_divergence:.2g} nats, perplexity {each.perplexity:.3f}, same token at "
        f"{each.agreement:.0%}" for weights, each in found.items()
    ]  # fmt: skip
    return finding(
        Verdict.TRUE_IF if decibels > 10 and half < 0.01 and half < quarter else Verdict.FALSE,
        "method and group size are good enough",
        f"{model} in 8 bits KL {half:.2g} nats, in 4 bits {quarter:.2g}; signal to rounding error {decibels:.1f} dB at "
        f"{bits} bits, a scale for 32 weights",
        f"s = max|w| / {2 ** (min(max(2, bits), 16) - 1) - 1}; error at most s/2; {decibels:.1f} dB",
        *lines,
    )


@section.claim(
    "distill", "Train a smaller model (3B parameters) to mimic a larger model (7B) ... 3-5x faster inference"
)
def distill(large: float = 7e9, small: float = 3e9, low: float = 3.0, high: float = 5.0) -> Finding:
    """Compute the ratio of parameters: of bytes in decode, and of operations in prefill."""
    ratio = large / small
    return finding(
        Verdict.TRUE if low <= ratio <= high else Verdict.FALSE,
        f"{ratio:.1f}x",
        f"{ratio:.2f} in bytes and operations",
        f"{large:.3g} / {small:.3g} = {ratio:.2f}",
    )


@section.claim("short-prompts", "Shorter prompts ...: faster prefill, reduced token costs", runs=True)
def short_prompts(long: int = 80, short: int = 20) -> Finding:
    """Count the operations of two prompts in the engine, and compute their times on an A100."""
    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill
    from minillm.trace.counting import counted

    flops = []
    for tokens in (min(max(1, long), 120), min(max(1, short), 120)):
        model, count = counted(small_model())
        prefill(model, [5] * tokens, KVCache(model, tokens))
        flops.append(count.flops)
    serving = Serving(find_model("llama-2-7b"), find_gpu("a100"))
    times = [prefill_time(serving, tokens).seconds for tokens in (1000, 500, 100, 50)]
    return finding(
        Verdict.TRUE_IF if flops[0] > flops[1] and times[0] > 1.5 * times[1] else Verdict.FALSE,
        "for time, prompts are longer than the ridge; for cost, always",
        f"{flops[0] / flops[1]:.1f}x the operations at {long} tokens as at {short}; on an A100 1,000 tokens take "
        f"{times[0] / times[1]:.1f}x as long as 500, 100 {times[2] / times[3]:.1f}x as long as 50",
        f"counted in the engine: {flops[0]:,} and {flops[1]:,} FLOP",
    )


@section.claim("paged", "paged attention ... allows larger batch sizes without excessive memory overhead")
def paged(reserved: int = 2048, tokens: int = 500, block: int = 16) -> Finding:
    """Compute what is wasted by reserving for the longest sequence, and by blocks."""
    slots = -(-tokens // block) * block
    waste, paged_waste = 1 - tokens / reserved, 1 - tokens / slots
    gain = reserved / slots
    return finding(
        Verdict.TRUE if gain > 1 else Verdict.FALSE,
        "",
        f"waste at {tokens} tokens: reserving {reserved:,} {waste:.0%}, blocks of {block} {paged_waste:.1%}: "
        f"{gain:.1f}x batch",
        f"blocks: {slots} slots for {tokens} tokens; {reserved:,} / {slots} = {gain:.2f}",
        "published throughput: 2 to 4 times (vLLM)",
    )


@section.claim("sharding", "Split large models across multiple GPUs (sharding) ...: higher latency", runs=True)
def sharding(gpus: int = 8, model: str = "llama-2-7b", measured_speedup: float = 3.1) -> Finding:
    """Run one token on two ranks, cut in both ways: count the weights that a rank reads, what it sends, and idling."""
    (whole,), halves, idle = tensor_parallel_pass(1, [5]), tensor_parallel_pass(2, [5]), idle_share(2, 1, [5])
    read = max(each.weight_bytes for each in halves) / whole.weight_bytes
    sent = sum(kind.bytes for kind in halves[0].sent.values())
    config = find_model(model)
    each_sends = tensor_parallel_bytes_sent(config, 1, max(1, gpus))
    saved = 2 * matrix_parameters(config) * (1 - 1 / max(1, gpus))
    quicker = measured_speedup > 1 and read < 1 and all(each.same for each in halves)
    return finding(
        Verdict.IMPRECISE if quicker and idle > 0 else Verdict.TRUE,
        "true for a pipeline, not for tensor parallelism",
        f"each of 2 ranks reads {read:.0%} of the weights, at the same time; 2 stages idle {idle:.0%} of the time; "
        f"7B on {gpus} A100: {measured_speedup:g}x faster (gpt-fast)",
        f"tensor parallelism, `story` on 2 ranks, one token: each reads {read:.0%} of the weights, while the other "
        f"reads the rest, and sends {sent:,.0f} B",
        f"pipeline, `story` in 2 stages, one token: a stage idles while the other computes, {idle:.0%} of the slots: "
        "so a token takes as long as on one rank, plus the messages",
        f"{model} on {gpus} GPUs, by the formulas: each sends {each_sends:,.0f} B a token, and reads {gb(saved)} less",
    )


@section.claim(
    "lazy-loading", "only load layers as needed (lazy loading) ... serving large models that don't fit on single GPU",
    runs=True,
)  # fmt: skip
def lazy_loading(gigabytes: float = 140.0, link_gb_per_s: float = 31.5) -> Finding:
    """Decode with layers read from the file, count the reads, and compute what a large model's link takes for them."""
    from minillm.generation import generate
    from minillm.loading.load import load
    from minillm.streaming import StreamedLayers

    streamed, passes = watched_passes(load("story", layers="streamed"))
    layers, reads = streamed.layer_weights, list[int]()
    assert isinstance(layers, StreamedLayers)
    read_layer = layers.read

    def read_and_count(number: int) -> Any:
        reads.append(number)
        return read_layer(number)

    layers.read = read_and_count
    tokens = generate(streamed, prompt_ids()[:4], 4).tokens
    count = streamed.config.num_hidden_layers
    as_needed = reads == [*range(count)] * len(passes)
    same = tokens == generate(load("story"), prompt_ids()[:4], 4).tokens
    seconds = streamed_seconds_per_token(gigabytes, link_gb_per_s)
    return finding(
        Verdict.TRUE_IF if seconds > 0 and as_needed and same else Verdict.FALSE,
        "at that latency",
        f"each pass reads every layer again: {gigabytes:g} GB take {digits(seconds)} s a token",
        f"`story`, 4 prompt tokens and {len(tokens)} new ones: {len(passes)} passes have read {len(reads)} layers, "
        f"{count} each; {'the same' if same else 'different'} tokens as with all layers in memory",
        f"{gigabytes:g} GB / {link_gb_per_s:g} GB/s (PCIe 4) = {digits(seconds)} s a pass; a new token takes a pass",
    )
