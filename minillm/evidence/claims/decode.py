"""Claims of the section "Decode"."""

from minillm.estimate.hardware import find_gpu
from minillm.estimate.memory import gpus_needed
from minillm.estimate.models import find_model
from minillm.estimate.parameters import head_parameters, matrix_parameters, parameters
from minillm.estimate.roofline import ridge_flops_per_byte
from minillm.estimate.serving import Serving, decode_all_s, decode_time, prefill_time
from minillm.estimate.work import decode_work
from minillm.evidence.claims.experiments import prompt_ids, small_model, watched_passes
from minillm.evidence.claims.ledger import Finding, Section, Verdict, digits, finding, gb, ms

section = Section("Decode")

# Tokens/s of gpt-fast's README: A100 80 GB at 330 W, batch 1; 7B on one, 70B on two.
MEASURED_7B, MEASURED_70B = 104.9, 21.3


def _passes(new_tokens: int) -> tuple[list[int], int]:
    """Run the engine; return the tokens of each pass, and the number of new tokens."""
    from minillm.generation import generate
    from minillm.sampling import Sampling

    model, passes = watched_passes(small_model())
    out = generate(model, prompt_ids(), new_tokens, Sampling(ignore_eos=True))
    return passes, len(out.tokens)


@section.claim("pass-per-token", "each output token requires a full forward pass of the model", runs=True)
def pass_per_token(new_tokens: int = 10) -> Finding:
    """Count the forward passes of a run of the engine."""
    passes, tokens = _passes(max(1, new_tokens))
    return finding(
        Verdict.TRUE_IF if len(passes) == tokens else Verdict.FALSE,
        "no speculation",
        f"{tokens} new tokens, {len(passes)} forward passes",
        f"passes and the tokens that each ran: {passes}",
    )


@section.claim("passes-100", "Generating a 100-token response requires 100 sequential forward passes", runs=True)
def passes_100(new_tokens: int = 100) -> Finding:
    """Count: prefill gives the first token, each step one more."""
    passes, tokens = _passes(min(max(1, new_tokens), 100))
    return finding(
        Verdict.TRUE_IF if len(passes) == tokens else Verdict.FALSE,
        "counting prefill",
        f"1 prefill, which gives token 1, and {len(passes) - 1} decode steps",
        f"{tokens} new tokens: 1 pass over {passes[0]} tokens, {len(passes) - 1} passes over 1",
    )


@section.claim("no-parallelism", "There's no parallelization within a single sequence", runs=True)
def no_parallelism(positions: int = 5) -> Finding:
    """Run several positions in one pass of the exact backend, and one after another: the same logits."""
    import numpy as np

    from minillm.decode import decode_step
    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill
    from minillm.transformer import forward_batch

    model, tokens = small_model("exact"), prompt_ids()
    positions = min(max(1, positions), len(tokens) - 1)
    known, checked = tokens[:-positions], tokens[-positions:]
    caches = [KVCache(model, len(tokens)) for _ in range(2)]
    for cache in caches:
        prefill(model, known, cache)
    together = forward_batch(model, [(checked, caches[0])], [positions])
    alone = np.stack([decode_step(model, token, caches[1]) for token in checked])
    same = np.array_equal(together, alone)
    return finding(
        Verdict.IMPRECISE if same else Verdict.TRUE,
        "only sampled tokens depend on each other; prompt tokens and draft tokens run together, and so do the heads",
        f"{positions} positions in one pass: "
        + ("the logits of one by one, to the bit" if same else "different logits"),
    )


@section.claim("recompute-longer", "Recompute based on the new, longer sequence", runs=True)
def recompute_longer(context: int = 500) -> Finding:
    """Count the operations of one decode step in the engine, and compute those of a 7B model."""
    from minillm.decode import decode_step
    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill
    from minillm.trace.counting import counted

    model, count = counted(small_model())
    cache = KVCache(model, 100)
    prefill(model, prompt_ids(), cache)
    before = count.flops
    decode_step(model, 5, cache)
    step, formula = count.flops - before, decode_work(model.config, cache.length).flops
    seven = find_model("llama-2-7b")
    return finding(
        Verdict.IMPRECISE if step == formula else Verdict.FALSE,
        "only the new token is computed",
        f"a cached step at {context} tokens: {decode_work(seven, context).flops:.4g} FLOP, "
        f"{decode_work(seven, context).flops / decode_work(seven, 1).flops - 1:.1%} more than at 1",
        f"counted in the engine, one step after {cache.length - 1} tokens: {step:,} FLOP; 2·Pm + 4·L·d·n = "
        f"{formula:,.0f}",
        f"Llama-2-7B: 2·{matrix_parameters(seven):,} + 4·32·4,096·{context} = {decode_work(seven, context).flops:.4g}",
    )


@section.claim("decode-formula", "Time ≈ (output_length × model_size) / GPU_throughput")
def decode_formula(tokens: int = 100, batch: int = 1, model: str = "llama-2-7b", gpu: str = "a100") -> Finding:
    """Apply the formula to bytes, and to operations."""
    serving = Serving(find_model(model), find_gpu(gpu))
    time = decode_time(serving, 1, max(1, batch))
    return finding(
        Verdict.TRUE_IF if time.bound == "memory" else Verdict.FALSE,
        "size in bytes and throughput in bytes per second",
        f"{tokens} tokens: {ms(tokens * time.memory_s)} by bytes, {ms(tokens * time.compute_s)} by operations",
        f"bytes: {tokens} · {gb(2 * matrix_parameters(serving.config))} / "
        f"{serving.machine.bandwidth_bytes_per_s / 1e9:,.0f} "
        f"GB/s = {ms(tokens * time.memory_s)}",
        f"operations: {tokens} · {max(1, batch)} · 2·Pm / {serving.machine.flops_per_s:.3g} = "
        f"{ms(tokens * time.compute_s)}",
    )


@section.claim(
    "decode-7b",
    "Generating 100 tokens from a 7B model on an A100 typically takes 1-2 seconds",
    corrects="34% to 69% of the bandwidth; 0.648 s over 2 s and 1 s is 32% to 65%",
)
def decode_7b(tokens: int = 100, low_s: float = 1.0, high_s: float = 2.0) -> Finding:
    """Compute the bound, and compare with gpt-fast's measurement."""
    bound = tokens * decode_time(Serving(find_model("llama-2-7b"), find_gpu("a100")), 1).seconds
    measured = tokens / MEASURED_7B
    fits = 0.9 * low_s <= measured <= high_s or (bound < low_s and 0.2 < bound / high_s)
    return finding(
        Verdict.TRUE_IF if fits else Verdict.FALSE,
        f"batch 1, float16, {bound / high_s:.0%}-{bound / low_s:.0%} of the bandwidth (bound / claim)",
        f"bound {digits(bound)} s; measured {digits(measured)} s ({MEASURED_7B} tok/s, gpt-fast)",
        f"bound: {tokens} · {ms(bound / tokens)} = {digits(bound)} s",
        f"measured: {tokens} / {MEASURED_7B} tok/s = {digits(measured)} s",
    )


@section.claim("decode-70b", "The same on a 70B model takes 10-20 seconds")
def decode_70b(tokens: int = 100, low_s: float = 10.0, high_s: float = 20.0) -> Finding:
    """Compute the bound on the GPUs that hold the model, and compare with gpt-fast's measurement."""
    one = Serving(find_model("llama-2-70b"), find_gpu("a100"))
    gpus = gpus_needed(one.weights_bytes, one.machine.memory_bytes)
    bound = tokens * decode_time(one, 1).seconds / gpus
    measured = tokens / MEASURED_70B
    return finding(
        Verdict.TRUE if low_s <= measured <= high_s else Verdict.IMPRECISE,
        f"about {measured:.0f} s",
        f"{gpus} A100 hold it: bound {digits(bound)} s, measured {digits(measured)} s ({MEASURED_70B} tok/s, gpt-fast)",
        f"weights: {gb(one.weights_bytes)}, {gpus} A100",
        f"bound: {tokens} · {gb(2 * matrix_parameters(one.config))} / ({gpus} · 2,039 GB/s) = {digits(bound)} s",
        f"measured: {tokens} / {MEASURED_70B} = {digits(measured)} s",
    )


@section.claim(
    "decode-bw-bound",
    "Decode is memory-bandwidth bound",
    corrects="0.98 FLOP/byte, without attention's own operations; with them it is 1.00",
)
def decode_bw_bound(batch: int = 1, context: int = 500, model: str = "llama-2-7b", gpu: str = "a100") -> Finding:
    """Compare the operations per byte with the machine's ridge."""
    work, ridge = decode_work(find_model(model), context, batch), ridge_flops_per_byte(find_gpu(gpu))
    return finding(
        Verdict.TRUE_IF if work.intensity < ridge else Verdict.FALSE,
        "a batch below the ridge",
        f"{digits(work.intensity)} FLOP/byte at batch {batch}, {context} tokens; the ridge is {ridge:.0f}",
        f"{work.flops:.4g} FLOP / ({gb(work.weight_bytes)} weights + {gb(work.cache_bytes)} cache) = "
        f"{digits(work.intensity)} FLOP/byte",
        f"ridge: {find_gpu(gpu).flops_per_s:.3g} / {find_gpu(gpu).bandwidth_bytes_per_s:.4g} = {ridge:.0f} FLOP/byte",
    )


@section.claim(
    "small-fraction",
    "The entire model weights must be loaded ..., even if only a small fraction are computed",
    runs=True,
)
def small_fraction() -> Finding:
    """Count the bytes of weights that one step of the engine reads, and compare with all of its matrices."""
    from minillm.decode import decode_step
    from minillm.kv_cache.contiguous import KVCache
    from minillm.trace.counting import counted

    model, count = counted(small_model())
    decode_step(model, 5, KVCache(model, 4))
    matrices = matrix_parameters(model.config) * model.dtype.itemsize
    seven = find_model("llama-2-7b")
    unread = head_parameters(seven) / parameters(seven)
    return finding(
        Verdict.FALSE if count.weight_bytes == matrices else Verdict.TRUE,
        "every matrix weight is used; a mixture of experts reads only its active experts",
        f"{count.weight_bytes / matrices:.0%} of the matrices are multiplied with; embedding rows, {unread:.1%} of "
        "a 7B, "
        "are looked up",
        f"read in one step: {count.weight_bytes:,} bytes, all of them multiplied; all matrices: {matrices:,} bytes",
        f"embedding of Llama-2-7B: {head_parameters(seven):,} / {parameters(seven):,} = {unread:.1%}",
    )


@section.claim("bigger-slower", "Larger models (more weights) are slower at decoding")
def bigger_slower(small: str = "llama-2-7b", large: str = "llama-2-70b") -> Finding:
    """Divide the bytes of a step: large over small."""
    ratio = decode_work(find_model(large), 1).weight_bytes / decode_work(find_model(small), 1).weight_bytes
    return finding(
        Verdict.TRUE if ratio > 1 else Verdict.FALSE,
        "",
        f"bytes of weights {large} / {small} = {digits(ratio)}",
    )


@section.claim("breakdown-5s", "Decode: 4,900ms (model generates 100 tokens at ~50ms per token)")
def breakdown_5s(tokens: int = 100, ms_per_token: float = 50.0, claimed_ms: float = 4900.0) -> Finding:
    """Multiply tokens by time."""
    all_tokens, steps = tokens * ms_per_token, (tokens - 1) * ms_per_token
    return finding(
        Verdict.TRUE if abs(all_tokens - claimed_ms) < 1 else
        Verdict.IMPRECISE if abs(all_tokens - claimed_ms) < 0.05 * claimed_ms else Verdict.FALSE,
        f"{steps:,.0f} ms for {tokens - 1} steps, because prefill gives the first token",
        f"{tokens} · {ms_per_token:g} = {all_tokens:,.0f} ms; with prefill {all_tokens + 100:,.0f} ms",
    )  # fmt: skip


@section.claim(
    "prefill-2pct",
    "The prefill phase is 2% of total time",
    corrects="3.2% for 500/100 tokens; 21.0 ms of 677 ms is 3.1%",
)
def prefill_2pct(prompt: int = 500, new_tokens: int = 100, model: str = "llama-2-7b", gpu: str = "a100") -> Finding:
    """Compute prefill's share: of the article's own times, and of the bounds of this prompt and of long ones."""
    serving = Serving(find_model(model), find_gpu(gpu))

    def share(prompt: int, new_tokens: int) -> float:
        prefill_s = prefill_time(serving, prompt).seconds
        return prefill_s / (prefill_s + decode_all_s(serving, prompt, new_tokens))

    return finding(
        Verdict.TRUE_IF if share(prompt, new_tokens) < 0.05 else Verdict.FALSE,
        "a short prompt and a long output",
        f"100/5,000 = 2%; bound for {prompt}/{new_tokens} tokens {share(prompt, new_tokens):.1%}, "
        f"8,000/100 {share(8000, 100):.0%}, 8,000/10 {share(8000, 10):.0%}",
        f"prefill of {prompt}: {ms(prefill_time(serving, prompt).seconds)}; "
        f"{new_tokens - 1} steps: {ms(decode_all_s(serving, prompt, new_tokens))}",
    )


@section.claim("decode-50ms", "~50ms per token")
def decode_50ms(claimed_ms: float = 50.0, model: str = "llama-2-7b") -> Finding:
    """Divide the bytes of a step by each GPU's bandwidth."""
    config, gpus = find_model(model), {name: find_gpu(name) for name in ("a100", "l40s", "t4")}
    bounds = {name: decode_time(Serving(config, gpu), 1).seconds for name, gpu in gpus.items()}
    measured = 1000 / MEASURED_7B
    return finding(
        Verdict.TRUE if abs(measured / claimed_ms - 1) < 0.2 else Verdict.IMPRECISE,
        f"like a T4; {measured:.0f} ms measured on an A100",
        ", ".join(f"{name.upper()} {ms(seconds)}" for name, seconds in bounds.items()),
        *(
            f"{name.upper()}: {gb(2 * matrix_parameters(config))} / {gpus[name].bandwidth_bytes_per_s / 1e9:,.0f} GB/s "
            f"= {ms(seconds)}"
            for name, seconds in bounds.items()
        ),
        f"measured on an A100: {MEASURED_7B} tok/s (gpt-fast) = {measured:.1f} ms",
    )
