"""Claims of the section "Attention"."""

from minillm.estimate.hardware import find_gpu
from minillm.estimate.memory import cache_bytes_per_token
from minillm.estimate.models import find_model
from minillm.estimate.parameters import layers_parameters, matrix_parameters
from minillm.estimate.roofline import ridge_flops_per_byte
from minillm.estimate.serving import Serving
from minillm.estimate.work import Tokens, decode_work, prefill_work, visible_pairs
from minillm.evidence.claims.ledger import Finding, Section, Verdict, digits, finding
from minillm.evidence.claims.prefill import even_tokens

section = Section("Attention")


@section.claim("attention-n2", "all pairs of tokens ... computing attention requires O(N²) comparisons")
def attention_n2(tokens: int = 500) -> Finding:
    """Count the pairs of a query and a key it may see: N(N+1)/2 with the causal mask."""
    pairs = visible_pairs(Tokens(tokens), None)
    share = pairs / tokens**2
    return finding(
        Verdict.TRUE_IF if 0.4 < share < 0.6 else Verdict.TRUE,
        "the order is right; causal attention makes half the pairs",
        f"{pairs:,.0f} of {tokens**2:,} pairs at {tokens} tokens",
        f"{tokens} · {tokens + 1} / 2 = {pairs:,.0f} = {share:.1%} of {tokens}²",
    )


@section.claim("attention-counts", "100² = 10,000 comparisons ... 500² = 250,000 comparisons")
def attention_counts(short: int = 100, long: int = 500) -> Finding:
    """Compute the squares, and the causal counts."""
    causal = [visible_pairs(Tokens(tokens), None) for tokens in (short, long)]
    return finding(
        Verdict.TRUE if (short**2, long**2) == (10_000, 250_000) else Verdict.FALSE,
        "as squares",
        f"{short**2:,} and {long**2:,}; causal {causal[0]:,.0f} and {causal[1]:,.0f}",
    )


@section.claim("attention-25x", "A 5x longer sequence requires 25x more attention computation")
def attention_25x(tokens: int = 100, times: int = 5, model: str = "llama-2-7b") -> Finding:
    """Divide pairs, and operations of the whole prefill, of the longer sequence by those of the shorter."""
    config = find_model(model)
    causal = visible_pairs(Tokens(times * tokens), None) / visible_pairs(Tokens(tokens), None)
    whole = prefill_work(config, times * tokens).flops / prefill_work(config, tokens).flops
    return finding(
        Verdict.TRUE_IF if abs(causal / times**2 - 1) < 0.05 else Verdict.FALSE,
        "attention only",
        f"squares {times**2}, causal {causal:.1f}; the whole prefill {whole:.2f}x",
        f"pairs: {visible_pairs(Tokens(times * tokens), None):,.0f} / {visible_pairs(Tokens(tokens), None):,.0f} = "
        f"{causal:.1f}",
        f"all operations of prefill: {whole:.2f}",
    )


@section.claim("cache-saves-attention", "it avoids recomputing attention for old tokens during decode")
def cache_saves_attention(context: int = 501, model: str = "llama-2-7b") -> Finding:
    """Compute which operations a cached step saves compared with recomputing the whole sequence."""
    config = find_model(model)
    linear = 2 * layers_parameters(config) * (context - 1)
    saved = prefill_work(config, context).flops - decode_work(config, context).flops
    share = linear / saved
    return finding(
        Verdict.IMPRECISE if share > 0.5 else Verdict.TRUE,
        "mostly projections and the MLP",
        f"saved at {context} tokens: {share:.0%} in linear layers, {1 - share:.0%} in attention",
        f"linear layers: 2·Pl·{context - 1} = {linear:.4g}; all that is saved: {saved:.4g} FLOP",
    )


@section.claim(
    "decode-not-attention",
    "The real bottleneck during decoding isn't attention computation itself; its memory bandwidth",
)
def decode_not_attention(tokens_in_flight: int = 500, model: str = "llama-2-7b") -> Finding:
    """Find from how many tokens in flight the KV cache, which attention reads, is larger than the weights."""
    config = find_model(model)
    even = 2 * matrix_parameters(config) / cache_bytes_per_token(config)
    return finding(
        Verdict.TRUE_IF if tokens_in_flight < even else Verdict.FALSE,
        f"fewer than {even:,.0f} tokens in flight; above that, reading keys and values is the bottleneck",
        f"the cache passes the weights at batch · context = {even:,.0f}",
        f"{2 * matrix_parameters(config):,} B / {cache_bytes_per_token(config):,} B a token = {even:,.0f}",
    )


@section.claim("bandwidth-limits", "GPU memory bandwidth (not compute cores) limits inference throughput")
def bandwidth_limits(batch: int = 1, prompt: int = 500, model: str = "llama-2-7b", gpu: str = "a100") -> Finding:
    """Show that bandwidth limits decode below the ridge, and that arithmetic limits a long prefill."""
    serving = Serving(find_model(model), find_gpu(gpu))
    ridge, meet = ridge_flops_per_byte(serving.machine), even_tokens(serving)
    decode = decode_work(serving.config, 1, max(1, batch)).intensity < ridge
    return finding(
        (Verdict.TRUE if prompt < meet else Verdict.TRUE_IF) if decode else Verdict.FALSE,
        "decode",
        f"decode below batch {ridge:.0f} yes; prefill of more than {meet} tokens no",
        f"decode at batch {batch}: {digits(decode_work(serving.config, 1, max(1, batch)).intensity)} FLOP/byte, "
        f"ridge {ridge:.0f}",
        f"prefill: arithmetic takes as long as memory at {meet} tokens",
    )


CUDA_CORES = {"l40s": 18_176, "h100-sxm": 16_896}  # NVIDIA datasheets


@section.claim(
    "h100-vs-cores", "An H100 with faster memory can decode faster than a GPU with more cores but slower memory"
)
def h100_vs_cores(fewer: str = "h100-sxm", more: str = "l40s") -> Finding:
    """Compare CUDA cores and bandwidth of an H100 SXM and an L40S."""
    fast, slow = find_gpu(fewer), find_gpu(more)
    ratio = fast.bandwidth_bytes_per_s / slow.bandwidth_bytes_per_s
    cores = {name: CUDA_CORES.get(name, 0) for name in (fast.name, slow.name)}
    return finding(
        Verdict.TRUE if ratio > 1 and cores[slow.name] > cores[fast.name] else Verdict.FALSE,
        "",
        f"{more} {cores[slow.name]:,} cores, {fewer} {cores[fast.name]:,}, but {ratio:.1f}x the bandwidth",
        f"{fast.bandwidth_bytes_per_s / 1e9:,.0f} / {slow.bandwidth_bytes_per_s / 1e9:,.0f} GB/s = {ratio:.1f}",
    )
