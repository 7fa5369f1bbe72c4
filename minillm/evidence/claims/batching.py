"""Claims of the section "Batching"."""

from minillm.estimate.batching import batching_gain, batching_slowdown, decode_tokens_per_s
from minillm.estimate.hardware import find_gpu
from minillm.estimate.models import find_model
from minillm.estimate.roofline import ridge_flops_per_byte
from minillm.estimate.serving import Serving, decode_time, most_sequences
from minillm.evidence.claims.experiments import small_model
from minillm.evidence.claims.ledger import Finding, Section, Verdict, digits, finding, gb, ms

section = Section("Batching")
MEASURED_7B = 104.9  # tokens/s, gpt-fast's README: A100 80 GB at 330 W, batch 1


@section.claim("single-underuses", "A single request on a single GPU doesn't fully utilize hardware")
def single_underuses(batch: int = 1) -> Finding:
    """Compute the fraction of peak arithmetic that decode can reach: about the batch size over the ridge."""
    shares = {name: min(1.0, batch / ridge_flops_per_byte(find_gpu(name))) for name in ("a100", "h100")}
    return finding(
        Verdict.TRUE if max(shares.values()) < 0.5 else Verdict.FALSE,
        "",
        f"at batch {batch} " + ", ".join(f"{share:.2%} of an {name.upper()}" for name, share in shares.items()),
        *(f"{name.upper()}: {batch} FLOP/byte / {ridge_flops_per_byte(find_gpu(name)):.0f} = {share:.2%}"
          for name, share in shares.items()),
    )  # fmt: skip


@section.claim(
    "batch-more-cores", "the GPU distributes computation across more cores, improving utilization", runs=True
)
def batch_more_cores(batch: int = 8) -> Finding:
    """Count the bytes of weights per token in a decode step of the engine: one read serves the whole batch."""
    from minillm.kv_cache.contiguous import KVCache
    from minillm.trace.counting import counted
    from minillm.transformer import forward_batch

    per_token, batch = list[float](), min(batch, 256)
    for sequences in (1, max(1, batch)):
        model, count = counted(small_model())
        forward_batch(model, [([5], KVCache(model, 1)) for _ in range(sequences)])
        per_token.append(count.weight_bytes / sequences)
    return finding(
        Verdict.IMPRECISE if per_token[1] * max(1, batch) == per_token[0] else Verdict.TRUE,
        "the gain is in memory traffic: one read of the weights serves all tokens of the batch",
        f"bytes of weights for a token: {per_token[0]:,.0f} alone, {per_token[1]:,.0f} in a batch of {batch}",
    )


@section.claim("a100-100tps", "on an A100 GPU: ... Single sequence: 100 tokens per second")
def a100_100tps(claimed: float = 100.0, model: str = "llama-2-7b") -> Finding:
    """Compute the bound, and compare with gpt-fast's measurement."""
    bound = 1 / decode_time(Serving(find_model(model), find_gpu("a100")), 1).seconds
    return finding(
        Verdict.TRUE if 0.4 * bound <= claimed <= bound else Verdict.FALSE,
        "",
        f"bound {bound:.0f}, measured {MEASURED_7B} (gpt-fast)",
        f"1 / {ms(1 / bound)} = {bound:.0f} tokens/s at the full bandwidth; measured {MEASURED_7B}",
    )


@section.claim("a100-batch-10", "Batch of 10: 1,000 tokens per second total (100 per sequence, all in parallel)")
def a100_batch_10(batch: int = 10, context: int = 500, claimed: float = 1000.0, model: str = "llama-2-7b") -> Finding:
    """Compute the bound of a batch, and its gain over one sequence at two contexts."""
    serving = Serving(find_model(model), find_gpu("a100"))
    bound = decode_tokens_per_s(serving, context, batch)
    gain, short = batching_gain(serving, context, batch), batching_gain(serving, 50, batch)
    return finding(
        Verdict.TRUE_IF if claimed <= bound else Verdict.FALSE,
        "short contexts",
        f"bound {bound:,.0f} at {context} tokens; gain {gain:.1f}x, {short:.1f}x at 50",
        f"{batch} / {ms(decode_time(serving, context, batch).seconds)} = {bound:,.0f} tokens/s",
        f"gain at {context} tokens {gain:.2f}, at 50 {short:.2f}; measured 5.7x at batch 8 with prefill (NVIDIA "
        "NeMo guide)",
    )


@section.claim("batch-hundreds", "A production LLM serving system batches hundreds of requests simultaneously")
def batch_hundreds(context: int = 500, gpu: str = "a100") -> Finding:
    """Compute how many sequences fit next to the weights in 90% of the memory."""
    fits = {
        name: most_sequences(Serving(find_model(name), find_gpu(gpu)), context) for name in ("llama-2-7b", "llama-3-8b")
    }
    serving = Serving(find_model("llama-2-7b"), find_gpu(gpu))
    return finding(
        Verdict.TRUE_IF if max(fits.values()) >= 200 else Verdict.FALSE,
        "short contexts or grouped-query attention",
        ", ".join(f"{name} {count}" for name, count in fits.items()) + f" sequences of {context} tokens",
        f"({gb(serving.gpus * serving.machine.memory_bytes * serving.usable)} - {gb(serving.weights_bytes)}) / "
        f"({context} · {serving.cache_bytes_per_token:,} B) = {fits['llama-2-7b']}",
    )


@section.claim("static-tail", "Request 2 latency: now 5 seconds (not 500ms) because it waits for Request 1", runs=True)
def static_tail(long: int = 100, short: int = 10, ms_per_step: float = 50.0) -> Finding:
    """Count the steps until both are answered, by static batching and by the engine's continuous batching."""
    from minillm.batching import Engine, StaticBatching
    from minillm.sampling import Sampling

    model, prompt, sampling = small_model(), [1, 2, 3], Sampling(ignore_eos=True)
    lengths = [min(max(1, length), 100) for length in (long, short)]
    static, engine = StaticBatching(model, 2), Engine(model)
    waited = [static.submit(prompt, length, sampling) for length in lengths]
    static.run()
    freed = [engine.submit(prompt, length, sampling) for length in lengths]
    engine.run()
    seconds = [(request.finished_step or 0) * ms_per_step / 1000 for request in (waited[1], freed[1])]
    return finding(
        Verdict.TRUE_IF if seconds[0] > seconds[1] else Verdict.FALSE,
        f"static batching; continuous batching answers it after {seconds[1]:g} s",
        f"static {seconds[0]:g} s, continuous {seconds[1]:g} s",
        f"static batching: both finished after step {waited[0].finished_step}",
        f"Engine: the long one after step {freed[0].finished_step}, the short one after step {freed[1].finished_step}",
    )


@section.claim("longer-unaffected", "The longer sequence is unaffected")
def longer_unaffected(context: int = 100, batch: int = 2, model: str = "llama-2-7b") -> Finding:
    """Divide the time of a step of both together by that of a step of one."""
    ratio = batching_slowdown(Serving(find_model(model), find_gpu("a100")), context, batch)
    return finding(
        Verdict.TRUE_IF if ratio < 1.05 else Verdict.FALSE,
        "batch · context is small",
        f"a step of {batch} takes {ratio:.3f} times as long at {context} tokens",
        f"(W + {batch}·{context}·kv) / (W + {context}·kv) = {digits(ratio)}",
    )
