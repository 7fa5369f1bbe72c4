"""Claims of the sections "FAQ" and "Sources"."""

from minillm.estimate.batching import batching_slowdown, decode_tokens_per_s
from minillm.estimate.cost import dollars_per_million_tokens
from minillm.estimate.hardware import find_gpu
from minillm.estimate.memory import FORMATS, weights_bytes
from minillm.estimate.models import find_model
from minillm.estimate.serving import Serving, decode_time, most_sequences
from minillm.estimate.work import decode_work
from minillm.evidence.claims.experiments import small_model
from minillm.evidence.claims.ledger import Finding, Section, Verdict, finding
from minillm.evidence.claims.prefill import even_tokens

section = Section("FAQ and sources")


@section.claim("faq-70b", "A 70B model generates tokens 5-10x slower than a 7B model")
def faq_70b(low: float = 5.0, high: float = 10.0, context: int = 500) -> Finding:
    """Compute the ratio of bytes: in float16, and quantised on the same GPU with the KV cache."""
    small, large, a100 = find_model("llama-2-7b"), find_model("llama-2-70b"), find_gpu("a100")
    bytes_ratio = decode_work(large, 1).weight_bytes / decode_work(small, 1).weight_bytes
    measured = 104.9 / 21.3  # tokens/s of gpt-fast's README: 7B on one A100, 70B on two

    def slower(name: str) -> float:
        small_s, large_s = (
            decode_time(Serving(config, a100, weights=FORMATS[name]), context).seconds for config in (small, large)
        )
        return float(large_s / small_s)

    return finding(
        Verdict.TRUE_IF if low <= bytes_ratio * 1.05 and measured <= high else Verdict.FALSE,
        f"{high:g}x is the bound",
        f"bytes {bytes_ratio:.1f}x; measured {measured:.1f}x with the large one on two GPUs (gpt-fast)",
        f"weights of a step: {decode_work(large, 1).weight_bytes:,} / {decode_work(small, 1).weight_bytes:,} B",
        *(f"{name}, both on one A100, {context} tokens: bound {slower(name):.1f}x" for name in ("int8", "int4")),
        f"measured on one A100 (gpt-fast, tokens/s): int8 155.58 / 19.13 = {155.58 / 19.13:.1f}x, "
        f"int4 196.8 / 25.25 = {196.8 / 25.25:.1f}x",
    )


@section.claim("faq-pricing", "Pricing reflects actual compute cost")
def faq_pricing() -> Finding:
    """State what providers have published about their costs."""
    return finding(Verdict.UNCHECKABLE, "not public", "providers do not publish their costs")


@section.claim(
    "faq-cache", "rare cases (very short sequences where recomputation is faster than cache lookup)", runs=True
)
def faq_cache(longest: int = 24) -> Finding:
    """Count the operations of a step with and without a cache, in the engine at every length."""
    from minillm.decode import decode_step
    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill
    from minillm.trace.counting import counted

    model, count = counted(small_model())
    longest, worse = min(max(2, longest), 60), 0
    for tokens in range(2, longest + 1):
        cache = KVCache(model, tokens)
        prefill(model, [5] * (tokens - 1), cache)
        before = count.flops
        decode_step(model, 5, cache)
        cached = count.flops - before
        prefill(model, [5] * tokens, KVCache(model, tokens))
        worse += cached > count.flops - before - cached
    meet = even_tokens(Serving(find_model("llama-2-7b"), find_gpu("a100")))
    return finding(
        Verdict.TRUE_IF if not worse else Verdict.FALSE,
        f"on a GPU below {meet} tokens both are equally fast and read the weights once; never fewer operations",
        f"the cached step has more operations at {worse} of {longest - 1} lengths",
        f"lengths 2 to {longest} in the engine: cached <= recomputed everywhere" if not worse else "",
        f"A100, 7B: below {meet} tokens a pass over all takes no longer than a step",
    )


@section.claim("faq-cpu", "Llama 2 7B runs on modern CPUs in 5-10 seconds per token")
def faq_cpu(bandwidth_gb_per_s: float = 51.2, low_s: float = 5.0) -> Finding:
    """Divide the bytes of a step by the bandwidth of two DDR4 channels, and compare with llama.cpp's measurements."""
    weights = weights_bytes(find_model("llama-2-7b"))
    half, quantised = weights / 1e9 / bandwidth_gb_per_s, weights / 1e9 * 0.28125 / bandwidth_gb_per_s
    return finding(
        Verdict.TRUE if half >= low_s else Verdict.FALSE,
        "0.05 to 0.3 s",
        f"{half:.2f} s in float16, {quantised:.2f} s in Q4_0; llama.cpp, 8B, Ryzen 7950X: 0.24 and 0.09 s",
        f"{weights / 1e9:.2f} GB / {bandwidth_gb_per_s:g} GB/s = {half:.2f} s; · 0.281 = {quantised:.2f} s",
    )


@section.claim("faq-gpus-necessary", "For production APIs, GPUs are necessary due to latency requirements")
def faq_gpus_necessary(cpu_tokens_per_s: float = 11.0, reading_tokens_per_s: float = 5.0) -> Finding:
    """Compare what a desktop's processor generates with how fast people read."""
    return finding(
        Verdict.IMPRECISE if cpu_tokens_per_s > reading_tokens_per_s else Verdict.TRUE,
        "TPUs serve too, and small models on CPUs",
        f"8B in Q4_0 on a desktop CPU: {cpu_tokens_per_s:g} tokens/s (llama.cpp); people read about "
        f"{reading_tokens_per_s:g}",
    )


@section.claim("faq-batch-cost", "Larger batches increase GPU utilization, so cost per token decreases")
def faq_batch_cost(context: int = 500, dollars_per_hour: float = 1.19, model: str = "llama-2-7b") -> Finding:
    """Compute dollars for a million tokens by batch, and the limit that reading the KV cache sets."""
    serving = Serving(find_model(model), find_gpu("a100"))
    costs = {
        b: dollars_per_million_tokens(dollars_per_hour, decode_tokens_per_s(serving, context, b)) for b in (1, 10, 100)
    }
    rate = serving.machine.bandwidth_bytes_per_s / (context * serving.cache_bytes_per_token)
    limit = dollars_per_million_tokens(dollars_per_hour, rate)
    falling = costs[1] > costs[10] > costs[100] > limit
    return finding(
        Verdict.TRUE if falling else Verdict.FALSE,
        "down to the limit of the KV cache",
        "$ per million: " + ", ".join(f"batch {b} {cost:.3g}" for b, cost in costs.items()) + f"; limit {limit:.3f}",
        f"limit: {context} · {serving.cache_bytes_per_token:,} B a token / 2,039 GB/s = {1e3 / rate:.3f} ms",
        f"{most_sequences(serving, context)} sequences fit",
    )


@section.claim(
    "faq-both", "Large batches: high throughput, high tail latency ... Rarely can both be optimized simultaneously"
)
def faq_both(batch: int = 8, context: int = 500, model: str = "llama-2-7b", gpu: str = "a100") -> Finding:
    """Compute throughput and step time from batch 1 to this one: below the knee both are nearly optimal."""
    serving = Serving(find_model(model), find_gpu(gpu))
    slower = batching_slowdown(serving, context, max(1, batch))
    total = batch / slower
    return finding(
        Verdict.TRUE_IF if slower < 1.5 else Verdict.TRUE,
        "only past the knee",
        f"{gpu.upper()}, batch 1 to {batch}: {total:.1f}x total, {slower - 1:+.0%} a step",
        *(f"batch {b}: {decode_tokens_per_s(serving, context, b):,.0f} tokens/s, "
          f"{decode_time(serving, context, b).seconds * 1000:.2f} ms a step" for b in (1, 8, 64, 200)),
    )  # fmt: skip


@section.claim("source-title", "Efficient Attention in Transformers: https://arxiv.org/abs/2307.08691")
def source_title(arxiv: str = "2307.08691", claimed: str = "Efficient Attention in Transformers") -> Finding:
    """Look up the titles of the article's three sources."""
    titles = {
        "2309.06180": "Efficient Memory Management for LLM Serving with PagedAttention",
        "2211.17192": "Fast Inference from Transformers via Speculative Decoding",
        "2307.08691": "FlashAttention-2: Faster Attention with Better Parallelism and Work Partitioning",
    }
    title = titles.get(arxiv, "not among the article's sources")
    return finding(
        Verdict.TRUE if claimed in title else Verdict.IMPRECISE,
        "FlashAttention-2; the ids of the other two are right",
        f"arXiv {arxiv}: {title}",
        *(f"arXiv {id}: {name}" for id, name in titles.items()),
    )
