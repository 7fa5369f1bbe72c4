"""Claims of the section "KV cache"."""

from bisect import bisect_left

from minillm.estimate.batching import batching_slowdown
from minillm.estimate.hardware import find_gpu
from minillm.estimate.memory import cache_bytes_per_token
from minillm.estimate.models import find_model
from minillm.estimate.parameters import matrix_parameters
from minillm.estimate.serving import Serving, decode_time, prefill_time
from minillm.estimate.work import decode_work, prefill_work
from minillm.evidence.claims.experiments import prompt_ids, small_model
from minillm.evidence.claims.ledger import Finding, Section, Verdict, digits, finding, gb, ms

section = Section("KV cache")


@section.claim("kv-what", "the model caches the key-value pairs from prefill and reuses them", runs=True)
def kv_what(new_tokens: int = 6) -> Finding:
    """Decode from the cache that prefill filled, and recompute everything, on the exact backend."""
    import numpy as np

    from minillm.decode import decode_step
    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill
    from minillm.transformer import forward

    new_tokens = min(new_tokens, 64)
    model, tokens = small_model("exact"), prompt_ids()
    cache = KVCache(model, len(tokens) + max(1, new_tokens))
    row, same = prefill(model, tokens, cache), True
    for _ in range(max(1, new_tokens)):
        tokens.append(int(row.argmax()))
        row = decode_step(model, tokens[-1], cache)
        same &= bool(np.array_equal(row, forward(model, tokens)[-1]))
    return finding(
        Verdict.TRUE if same else Verdict.FALSE,
        "",
        f"{max(1, new_tokens)} steps from the cache: "
        + ("naive decoding, to the bit" if same else "not naive decoding"),
    )


@section.claim("kv-from-embeddings", "projecting input embeddings into key and value spaces", runs=True)
def kv_from_embeddings() -> Finding:
    """Compare the values in each layer's cache with that layer's projection of the embeddings."""
    import numpy as np

    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill

    model, tokens = small_model("plain"), prompt_ids()
    cache, config = KVCache(model, len(prompt_ids())), model.config
    prefill(model, tokens, cache)
    kv_size = config.num_key_value_heads * config.head_dim
    same = []
    for number, layer in enumerate(model.layers()):
        normed = model.ops.rms_norm(model.embedding[tokens], layer.attention_norm, config.rms_norm_eps)
        values = (normed @ layer.qkv[:, -kv_size:]).reshape(len(tokens), config.num_key_value_heads, config.head_dim)
        same.append(bool(np.allclose(values.swapaxes(0, 1), cache.values[number], atol=1e-5)))
    return finding(
        Verdict.IMPRECISE if same[0] and not all(same) else Verdict.TRUE if all(same) else Verdict.FALSE,
        "embeddings only at layer 0; every other layer projects its own hidden state",
        f"values projected from the embeddings are those in the cache at {sum(same)} of {len(same)} layers",
        *(f"layer {number}: {'the same' if equal else 'different'}" for number, equal in enumerate(same)),
    )


@section.claim("kv-new-o1", "Computes KV for just the new token (fast, O(1) computation)", runs=True)
def kv_new_o1(context: int = 10, longer: int = 40) -> Finding:
    """Count the operations of a step of the engine at two contexts: projections stay the same, attention grows."""
    from minillm.decode import decode_step
    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill
    from minillm.trace.counting import counted

    model, count = counted(small_model())
    steps = []
    for tokens in (context, longer):
        cache = KVCache(model, max(1, tokens))
        if tokens > 1:
            prefill(model, [5] * (tokens - 1), cache)
        before = count.flops
        decode_step(model, 5, cache)
        steps.append(count.flops - before)
    fixed, grown = 2 * matrix_parameters(model.config), steps[1] - steps[0]
    heads = model.config.num_hidden_layers * model.config.num_attention_heads * model.config.head_dim
    return finding(
        Verdict.TRUE_IF if grown == 4 * heads * (longer - context) and min(steps) >= fixed else Verdict.FALSE,
        "only the projection is meant; the whole step is O(n), because attention reads all keys",
        f"a step at {context} tokens {steps[0]:,} FLOP, at {longer} {steps[1]:,}: {grown:,} more, all in attention",
        f"projections, MLP and head: 2·Pm = {fixed:,} FLOP at any context",
        f"attention: 4·L·H·h = {4 * heads} FLOP for each token of context",
    )


@section.claim("no-cache-on", "would require recomputing KV for the entire sequence (slow, O(n) computation ...)")
def no_cache_on(context: int = 501, prompt: int = 500, new_tokens: int = 100, model: str = "llama-2-7b") -> Finding:
    """Divide operations without a cache by those with one, for one token and for a whole answer."""
    config, new_tokens = find_model(model), min(new_tokens, 10_000)
    one = prefill_work(config, context).flops / decode_work(config, context).flops
    naive = sum(prefill_work(config, prompt + n).flops for n in range(new_tokens))
    cached = prefill_work(config, prompt).flops
    cached += sum(decode_work(config, prompt + n).flops for n in range(1, new_tokens))
    return finding(
        Verdict.TRUE_IF if one > 1 else Verdict.FALSE,
        "attention adds O(n²)",
        f"naive / cached at {context} tokens: {one:.0f}; {new_tokens} tokens after {prompt}: {naive / cached:.0f}",
        f"one token: {prefill_work(config, context).flops:.4g} / {decode_work(config, context).flops:.4g} FLOP = "
        f"{one:.0f}",
        f"{new_tokens} tokens: {naive:.4g} / {cached:.4g} FLOP = {naive / cached:.1f}",
    )


@section.claim("no-cache-seconds", "With cache, each token takes ~50ms. Without cache, each token would take seconds")
def no_cache_seconds(context: int = 500, mfu: float = 0.4, model: str = "llama-2-7b", gpu: str = "a100") -> Finding:
    """Compute the time of a pass over the whole sequence, and the length at which it takes a second."""
    serving = Serving(find_model(model), find_gpu(gpu))
    bound = prefill_time(serving, context).seconds
    real, lengths = Serving(serving.config, serving.machine, mfu=mfu), range(100, 10**6, 100)
    length = lengths[bisect_left(lengths, 1.0, key=lambda tokens: prefill_time(real, tokens).seconds)]
    return finding(
        Verdict.TRUE if prefill_time(real, context).seconds >= 1 else Verdict.FALSE,
        f"below about {length / 1000:.0f},000 tokens it takes less than a second",
        f"recomputing {context} tokens {ms(bound)}; 1 s takes {length:,} tokens at MFU {mfu:g}",
        f"a pass over {context} tokens: {ms(bound)} (the article: 50-100 ms)",
        f"at MFU {mfu:g} a pass over {length:,} tokens takes {prefill_time(real, length).seconds:.2f} s",
    )


@section.claim("kv-formula", "Memory = batch_size × sequence_length × num_layers × hidden_dim × 2 (key and value)")
def kv_formula(model: str = "llama-2-7b", other: str = "llama-2-70b", bytes_each: int = 2) -> Finding:
    """Compare the formula with the real bytes, for a model with a KV head per head and for one with fewer."""
    ratios = []
    for name in (model, other):
        config = find_model(name)
        formula = config.num_hidden_layers * config.hidden_size * 2 * bytes_each
        ratios.append(formula / cache_bytes_per_token(config, bytes_each))
    return finding(
        Verdict.TRUE_IF if ratios[0] == 1 else Verdict.FALSE,
        "each head has a KV head (MHA), and the result, a count of numbers, is multiplied by the bytes of a number",
        f"times {bytes_each} bytes: {ratios[0]:g}x the real size for {model}, {ratios[1]:g}x for {other}",
        f"{model}: L·d·2·{bytes_each} B over 2·L·K·h·{bytes_each} B = {ratios[0]:g}",
        f"{other}: {ratios[1]:g}, because {find_model(other).num_key_value_heads} KV heads serve "
        f"{find_model(other).num_attention_heads} heads",
    )


@section.claim("kv-token-7b", "Per token, per batch: 32 × 4096 × 2 × 2 bytes = 524KB", runs=True)
def kv_token_7b(layers: int = 32, kv_heads: int = 32, head_dim: int = 128, bytes_each: int = 2) -> Finding:
    """Compute the bytes of one token's keys and values, and compare the formula with a real cache of the engine."""
    from minillm.kv_cache.contiguous import KVCache

    bytes_ = 2 * layers * kv_heads * head_dim * bytes_each
    model = small_model()
    real, formula = KVCache(model, 10).nbytes, 10 * cache_bytes_per_token(model.config, model.dtype.itemsize)
    return finding(
        Verdict.TRUE if round(bytes_ / 1000) == 524 and real == formula else Verdict.FALSE,
        "",
        f"{bytes_:,} B = {bytes_ / 1000:,.0f} kB = {bytes_ / 1024:,.0f} KiB",
        f"2 (keys and values) · {layers} layers · {kv_heads} KV heads · {head_dim} · {bytes_each} B = {bytes_:,} B",
        f"= {bytes_ / 1000:,.0f} kB (powers of 1000) = {bytes_ / 1024:,.0f} KiB (powers of 1024)",
        f"the engine: KVCache of 10 tokens of {model.name} takes {real:,} B; the formula says {formula:,} B",
    )


@section.claim("kv-batch-10", "Total KV cache: 10 × 500 × 524KB = 2.6GB")
def kv_batch_10(sequences: int = 10, tokens: int = 500, model: str = "llama-2-7b") -> Finding:
    """Add up all tokens of all sequences."""
    total = sequences * tokens * cache_bytes_per_token(find_model(model))
    return finding(
        Verdict.TRUE if round(total / 1e9, 1) == 2.6 else Verdict.FALSE,
        "",
        f"{total:,} B = {total / 1e9:.2f} GB = {total / 2**30:.2f} GiB",
        f"{sequences} · {tokens} · {cache_bytes_per_token(find_model(model)):,} B = {total:,} B",
    )


@section.claim(
    "kv-70b-larger", "Large models (70B parameters) require larger cache (more layers, larger hidden dimensions)"
)
def kv_70b_larger(small: str = "llama-2-7b", large: str = "llama-2-70b") -> Finding:
    """Compute the bytes of a token; grouped-query attention has fewer KV heads."""
    one, other = find_model(small), find_model(large)
    bytes_small, bytes_large = cache_bytes_per_token(one), cache_bytes_per_token(other)
    all_heads = bytes_large * other.num_attention_heads // other.num_key_value_heads
    return finding(
        Verdict.TRUE if bytes_large > bytes_small else Verdict.FALSE,
        "smaller for Llama 2 and 3 70B, which have 8 KV heads" if bytes_large <= bytes_small else "",
        f"{large} {bytes_large:,} B a token, {digits(bytes_large / bytes_small)} of {small}",
        f"{small}: 2 · {one.num_hidden_layers} · {one.num_key_value_heads} · {one.head_dim} · 2 = {bytes_small:,} B",
        f"{large}: 2 · {other.num_hidden_layers} · {other.num_key_value_heads} · {other.head_dim} · 2 = "
        f"{bytes_large:,} B; "
        f"with a KV head for each head it would be {all_heads:,} B",
    )


@section.claim("kv-20gb", "KV cache can consume 20GB+ of GPU memory in practical batching scenarios")
def kv_20gb(gigabytes: float = 20.0, model: str = "llama-2-70b", sequences: int = 30) -> Finding:
    """Compute how many tokens that is."""
    tokens = gigabytes * 1e9 / cache_bytes_per_token(find_model(model))
    return finding(
        Verdict.TRUE_IF if 0 < tokens < 1e6 else Verdict.FALSE,
        f"{tokens / 1000:.0f}k tokens in flight",
        f"{tokens:,.0f} tokens, such as {sequences} sequences of {tokens // sequences:,.0f}",
        f"{gigabytes:g} GB / {cache_bytes_per_token(find_model(model)):,} B a token = {tokens:,.0f} tokens",
    )


@section.claim(
    "batch-kv-slows", "larger batch sizes degrade inference latency: KV cache grows linearly with batch size"
)
def batch_kv_slows(context: int = 500, model: str = "llama-2-7b", gpu: str = "a100") -> Finding:
    """Compute how much longer a step takes in a batch, and how much the throughput still gains."""
    serving = Serving(find_model(model), find_gpu(gpu))
    slower = {batch: batching_slowdown(serving, context, batch) for batch in (10, 32, 64)}
    even = 2 * matrix_parameters(serving.config) / serving.cache_bytes_per_token
    return finding(
        Verdict.TRUE_IF if slower[64] > 1.5 else Verdict.FALSE,
        f"batch · context is large; the throughput still rises ({64 / slower[64]:.0f}x at batch 64)",
        f"a step at {context} tokens takes " + ", ".join(f"{s:.2f}x at batch {b}" for b, s in slower.items()),
        f"batch 1: {ms(decode_time(serving, context).seconds)}, batch 64: "
        f"{ms(decode_time(serving, context, 64).seconds)}",
        f"the cache is as large as the weights, {gb(2 * matrix_parameters(serving.config))}, at {even:,.0f} tokens "
        "in all",
    )
