"""Claims of the section "Prefill"."""

import math
import re
from bisect import bisect_left

from minillm.estimate.hardware import find_gpu
from minillm.estimate.memory import gpus_needed
from minillm.estimate.models import find_model
from minillm.estimate.parameters import layers_parameters, matrix_parameters
from minillm.estimate.roofline import ridge_flops_per_byte
from minillm.estimate.serving import Serving, decode_time, prefill_time
from minillm.estimate.work import prefill_work
from minillm.evidence.claims.experiments import prompt_ids, small_model
from minillm.evidence.claims.ledger import Finding, Section, Verdict, finding, ms

section = Section("Prefill")


@section.claim("prefill-together", "all prompt tokens are processed together", runs=True)
def prefill_together(chunk: int = 4) -> Finding:
    """Run the prompt in one pass, in chunks, and token by token on the exact backend: equal to the bit."""
    import numpy as np

    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill

    model, prompt = small_model("exact"), prompt_ids()
    rows = [prefill(model, prompt, KVCache(model, len(prompt)), size) for size in (None, max(1, chunk), 1)]
    same = all(np.array_equal(row, rows[0]) for row in rows)
    return finding(
        Verdict.TRUE if same else Verdict.FALSE,
        "",
        f"{len(prompt)} tokens in one pass, in chunks of {max(1, chunk)} and one by one: "
        + ("the same logits to the bit" if same else "different logits"),
    )


@section.claim("token-ids", "Tokenize: [101, 2054, 2003, 1996, 3007, 1997, 2605, 102] (8 tokens)")
def token_ids(claimed: str = "101 2054 2003 1996 3007 1997 2605 102", question_mark: int = 1) -> Finding:
    """Show that the ids are BERT's WordPiece between [CLS] and [SEP], without the question mark; Llama 2 has others."""
    article = [int(number) for number in re.findall("[0-9]{1,9}", claimed)]
    bert = {"[CLS]": 101, "what": 2054, "is": 2003, "the": 1996, "capital": 3007, "of": 1997, "france": 2605}
    bert |= {"?": 1029} if question_mark else {}
    ids = [*bert.values(), 102]  # [SEP]
    llama = [1, 1724, 338, 278, 7483, 310, 3444, 29973]
    return finding(
        Verdict.TRUE if article == llama else Verdict.FALSE,
        "not an LLM's tokenizer, and the text is incomplete",
        f"BERT has {len(ids)} ids with the question mark; Llama 2 has {llama}",
        f"BERT-uncased: {ids} ({len(ids)} ids); the article lacks {sorted(set(ids) - set(article)) or 'none'}",
        f"Llama 2: {llama} ({len(llama)} ids)",
    )


@section.claim("dims-4096-32", "embeddings of dimension 4096 (typical) ... 32 layers")
def dims_4096_32(hidden_size: int = 4096, layers: int = 32) -> Finding:
    """List which models of the table have these sizes."""
    names = ("llama-2-7b", "llama-3-8b", "mistral-7b", "qwen2.5-7b")
    sizes = {name: (find_model(name).hidden_size, find_model(name).num_hidden_layers) for name in names}
    alike = [name for name, size in sizes.items() if size == (hidden_size, layers)]
    return finding(
        Verdict.TRUE if len(alike) > len(names) / 2 else Verdict.FALSE,
        "",
        f"{', '.join(alike) or 'none'}; "
        + ", ".join(f"{n} has {s[0]}, {s[1]}" for n, s in sizes.items() if n not in alike),
        *(f"{name}: hidden_size {size[0]}, {size[1]} layers" for name, size in sizes.items()),
    )


@section.claim("prefill-output", "Output: a representation of the entire prompt", runs=True)
def prefill_output() -> Finding:
    """Show the shapes of what prefill returns and caches."""
    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill

    model, prompt = small_model(), prompt_ids()
    cache = KVCache(model, len(prompt))
    logits = prefill(model, prompt, cache)
    config, kv_size = model.config, model.config.num_key_value_heads * model.config.head_dim
    all_tokens = cache.keys.size == config.num_hidden_layers * len(prompt) * kv_size
    return finding(
        Verdict.IMPRECISE if all_tokens and logits.shape == (config.vocab_size,) else Verdict.FALSE,
        "a KV cache and the last position's logits",
        f"keys and values 2 · {list(cache.keys.shape)}, logits {list(logits.shape)}",
        f"keys and values: 2 · {list(cache.keys.shape)} [layers, kv_heads, tokens, head_dim]",
        f"logits: {list(logits.shape)} [vocab], of the last position only",
    )


@section.claim("prefill-8-vs-1", "processing 8 tokens simultaneously is only slightly more expensive than processing 1")
def prefill_8_vs_1(tokens: int = 8, model: str = "llama-2-7b", gpu: str = "a100") -> Finding:
    """Compare both passes: each reads all weights once; arithmetic only counts above the ridge."""
    serving = Serving(find_model(model), find_gpu(gpu))
    many, one = prefill_time(serving, tokens), prefill_time(serving, 1)
    ratio = many.seconds / one.seconds
    return finding(
        Verdict.TRUE_IF if ratio < 1.25 else Verdict.FALSE,
        "fewer tokens than the ridge; not on a CPU, where each row of a small product costs more: minillm bench "
        "--scaling",
        f"{ratio:.2f} times",
        f"{tokens} tokens: max({ms(many.compute_s)} compute, {ms(many.memory_s)} memory)",
        f"1 token: max({ms(one.compute_s)} compute, {ms(one.memory_s)} memory); {ratio:.2f} times",
        f"ridge of the {gpu}: {ridge_flops_per_byte(serving.machine):.0f} FLOP/byte",
    )


@section.claim("prefill-formula", "Time ≈ (prompt_length × model_size) / GPU_throughput", runs=True)
def prefill_formula(tokens: int = 48) -> Finding:
    """Count the operations of a real prefill, and compare with 2 per token and parameter of the layers."""
    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill
    from minillm.trace.counting import counted

    model, count = counted(small_model())
    tokens = min(tokens, 256)
    prefill(model, [5] * tokens, KVCache(model, tokens))
    linear = 2 * layers_parameters(model.config) * tokens
    seven = find_model("llama-2-7b")
    share = 2 * layers_parameters(seven) * 500 / prefill_work(seven, 500).flops
    return finding(
        Verdict.TRUE_IF if 0.9 < share <= 1 else Verdict.FALSE,
        "a factor of 2 is added, the prompt has more tokens than the ridge, and attention is small",
        f"2 · parameters of the layers · tokens is {share:.1%} of the operations (7B, 500 tokens)",
        f"counted in the engine, {tokens} tokens of {model.name}: {count.flops:,} FLOP, of which 2·Pl·n = {linear:,}",
        f"Llama-2-7B, 500 tokens: 2·Pl·n = {2 * layers_parameters(seven) * 500:.4g} "
        f"of {prefill_work(seven, 500).flops:.4g} FLOP",
    )


def _prefill_range(model: str, tokens: int, low: float, high: float, gpus: int = 1) -> Finding:
    """Convert a range of seconds into the model FLOPs utilisation that it implies."""
    serving = Serving(find_model(model), find_gpu("a100"))
    bound = prefill_time(serving, tokens).seconds
    needed = gpus_needed(serving.weights_bytes, serving.machine.memory_bytes)
    best, worst = bound / needed / low, bound / needed / high
    possible = 0.1 < worst < best < 0.8
    where = f"; {ms(bound / needed)} on {needed}" if needed > gpus else ""
    return finding(
        Verdict.TRUE_IF if possible else Verdict.FALSE,
        f"MFU {bound / low:.0%} to {bound / high:.0%}" + (f"; its weights need {needed} A100" if needed > gpus else ""),
        f"bound {ms(bound)} on one A100{where}",
        f"2·Pl·n + attention = {prefill_work(serving.config, tokens).flops:.3g} FLOP / 312e12 = {ms(bound)}",
        f"weights {serving.weights_bytes / 1e9:.1f} GB: {needed} A100",
        f"{ms(low)} to {ms(high)} are {bound / low:.0%} to {bound / high:.0%} of one A100's peak",
    )


@section.claim("prefill-7b", "A 7B model processing a 500-token prompt on an A100 GPU takes roughly 50-100ms")
def prefill_7b(tokens: int = 500, low_ms: float = 50.0, high_ms: float = 100.0) -> Finding:
    """Compute the bound, and the fraction of the peak that the claim implies."""
    return _prefill_range("llama-2-7b", tokens, low_ms / 1000, high_ms / 1000)


@section.claim("prefill-70b", "A 70B model processing the same prompt takes 500ms-1s")
def prefill_70b(tokens: int = 500, low_ms: float = 500.0, high_ms: float = 1000.0) -> Finding:
    """Compute the bound, the fraction of the peak that the claim implies, and the GPUs that hold the weights."""
    return _prefill_range("llama-2-70b", tokens, low_ms / 1000, high_ms / 1000)


def even_tokens(serving: Serving) -> int:
    """Return the shortest prompt whose arithmetic takes as long as reading weights and cache."""
    lengths = range(1, 2**20)
    return lengths[bisect_left(lengths, True, key=lambda tokens: prefill_time(serving, tokens).bound != "memory")]


@section.claim(
    "prefill-io-bound",
    "Prefill is mostly I/O bound (moving weights through memory) rather than compute bound",
    corrects="156 (A100) and 301 tokens (H100), without the prompt's own keys and values; with them 157 and 303",
)
def prefill_io_bound(tokens: int = 500, model: str = "llama-2-7b") -> Finding:
    """Compute both times of one pass, and the length at which they are equal."""
    a100, h100 = (Serving(find_model(model), find_gpu(gpu)) for gpu in ("a100", "h100"))
    time = prefill_time(a100, tokens)
    meet = [even_tokens(serving) for serving in (a100, h100)]
    return finding(
        Verdict.TRUE if time.bound == "memory" else Verdict.FALSE,
        f"compute bound from {meet[0]} tokens on an A100, {meet[1]} on an H100",
        f"{tokens} tokens: {ms(time.compute_s)} compute, {ms(time.memory_s)} memory",
        f"compute: {prefill_work(a100.config, tokens).flops:.4g} FLOP / 312e12 = {ms(time.compute_s)}",
        f"memory: {prefill_work(a100.config, tokens).bytes / 1e9:.2f} GB / 2,039 GB/s = {ms(time.memory_s)}",
        f"they meet at {meet[0]} tokens (A100) and {meet[1]} (H100)",
    )


@section.claim("prefill-size-scaling", "larger models don't scale linearly")
def prefill_size_scaling(tokens: int = 500) -> Finding:
    """Compare the ratio of times with the ratio of parameters, 70B over 7B."""
    small, large = find_model("llama-2-7b"), find_model("llama-2-70b")
    time = prefill_work(large, tokens).flops / prefill_work(small, tokens).flops
    size = layers_parameters(large) / layers_parameters(small)
    return finding(
        Verdict.TRUE if abs(time / size - 1) > 0.1 else Verdict.FALSE,
        "linear in the parameters",
        f"70B over 7B: time {time:.2f}, parameters of the layers {size:.2f}",
        f"FLOP at {tokens} tokens: {prefill_work(large, tokens).flops:.4g} / "
        f"{prefill_work(small, tokens).flops:.4g} = {time:.2f}",
        f"parameters of the layers: {layers_parameters(large):.4g} / {layers_parameters(small):.4g} = {size:.2f}",
        "the article's own times, 500 ms and 50 ms: 10",
    )


@section.claim(
    "prefill-doubling",
    "processing 2x longer prompts takes more than 2x time due to attention's quadratic scaling",
    corrects="1.29 times the time from 100 to 200 tokens, without the keys and values read; with them 1.28",
)
def prefill_doubling(tokens: int = 500, model: str = "llama-2-7b", gpu: str = "a100") -> Finding:
    """Double the prompt: operations, time, and attention's fraction of them."""
    config = find_model(model)
    serving = Serving(config, find_gpu(gpu))

    def growth(n: int) -> float:
        return prefill_work(config, 2 * n).flops / prefill_work(config, n).flops

    def slower(n: int) -> float:
        return prefill_time(serving, 2 * n).seconds / prefill_time(serving, n).seconds

    heads = config.num_hidden_layers * config.num_attention_heads * config.head_dim
    share = heads * tokens / layers_parameters(config)
    tenth = math.ceil(0.1 * layers_parameters(config) / heads)
    return finding(
        Verdict.TRUE_IF if growth(tokens) > 2 else Verdict.FALSE,
        f"more tokens than the ridge; only {growth(tokens) / 2 - 1:.0%} over 2x at {tokens}",
        f"operations {growth(tokens):.2f}x at {tokens}, {growth(4000):.2f}x at 4k, {growth(8000):.2f}x at 8k; "
        f"time {slower(50):.2f}x at 50, {slower(100):.2f}x at 100",
        f"operations: {tokens} to {2 * tokens} {growth(tokens):.2f}, 4,000 to 8,000 {growth(4000):.2f}, "
        f"8,000 to 16,000 {growth(8000):.2f}",
        f"time: 50 to 100 {slower(50):.2f}, 100 to 200 {slower(100):.2f} (the weights are read either way)",
        f"attention / linear layers = L·d·n/Pl = {share:.1%} at {tokens}, 10% at {tenth:,}, "
        f"100% at {layers_parameters(config) / heads:,.0f} tokens",
    )


@section.claim("gpt41-price", "OpenAI charges $2/1M input tokens and $8/1M output tokens for GPT-4.1")
def gpt41_price(dollars_in: float = 2.0, dollars_out: float = 8.0) -> Finding:
    """Compare with OpenAI's list price of April 2025."""
    listed = (2.0, 8.0)
    return finding(
        Verdict.TRUE if (dollars_in, dollars_out) == listed else Verdict.FALSE,
        "OpenAI's list price (April 2025)",
        f"listed: ${listed[0]:g} in, ${listed[1]:g} out",
    )


@section.claim("input-cheaper", "input tokens cost less to compute than output tokens")
def input_cheaper(prompt: int = 500, batch: int = 165, model: str = "llama-2-7b", gpu: str = "a100") -> Finding:
    """Compare the GPU time of a token in prefill, in decode alone, and in decode in a batch."""
    serving = Serving(find_model(model), find_gpu(gpu))
    token_in = prefill_time(serving, prompt).seconds / prompt
    alone, together = decode_time(serving, prompt).seconds, decode_time(serving, prompt, batch).seconds / batch
    return finding(
        Verdict.TRUE_IF if token_in < together else Verdict.FALSE,
        f"by time, not by operations; a price 4 times as high fits decode at batch {batch}",
        f"prefill {ms(token_in)} a token; decode {ms(alone)} at batch 1 ({alone / token_in:.0f}x), "
        f"{ms(together)} at {batch} ({together / token_in:.1f}x)",
        f"operations of both: about 2P = {2 * matrix_parameters(serving.config):.3g} a token",
        f"prefill: {ms(prefill_time(serving, prompt).seconds)} / {prompt} = {ms(token_in)} a token",
        f"decode: {ms(alone)} alone, {ms(decode_time(serving, prompt, batch).seconds)} / {batch} = {ms(together)}",
    )
