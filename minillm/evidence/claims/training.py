"""Claims of the section "Inference vs training"."""

from minillm.estimate.cost import api_dollars, break_even_days, gpu_hours, inference_flops, training_flops
from minillm.estimate.hardware import find_gpu
from minillm.estimate.models import find_model
from minillm.estimate.serving import Serving, decode_time, prefill_time
from minillm.evidence.claims.experiments import prompt_ids, small_model
from minillm.evidence.claims.ledger import Finding, Section, Verdict, digits, finding, ms

section = Section("Inference vs training")

PUBLISHED_TOKENS = {"MPT-7B": 1e12, "Llama 2": 2e12, "Llama 3": 15e12, "Qwen2.5-7B": 18e12}
LLAMA_2_7B_HOURS = 184_320.0  # A100-80GB hours, Llama 2 paper (2307.09288), table 2


@section.claim("training-tokens", "A typical 7B parameter model trains for 2-4 trillion tokens")
def training_tokens(claimed_low: float = 2e12, claimed_high: float = 4e12) -> Finding:
    """Compare with the published numbers of training tokens of models of this size."""
    inside = [name for name, tokens in PUBLISHED_TOKENS.items() if claimed_low <= tokens <= claimed_high]
    low, high = min(PUBLISHED_TOKENS.values()), max(PUBLISHED_TOKENS.values())
    return finding(
        Verdict.TRUE if len(inside) == len(PUBLISHED_TOKENS) else Verdict.IMPRECISE if inside else Verdict.FALSE,
        f"{low / 1e12:.0f} to {high / 1e12:.0f} trillion",
        ", ".join(f"{name} {tokens / 1e12:.0f}T" for name, tokens in PUBLISHED_TOKENS.items()),
        *(f"{name}: {tokens / 1e12:.0f} trillion tokens, as published" for name, tokens in PUBLISHED_TOKENS.items()),
        f"from {claimed_low / 1e12:g} to {claimed_high / 1e12:g} trillion: {', '.join(inside) or 'none'}",
    )


@section.claim("training-epochs", "requiring many passes over data (epochs)")
def training_epochs(tokens: float = 2e12, corpus_tokens: float = 2e12) -> Finding:
    """Divide the tokens trained on by the tokens of the corpus: Llama 2 saw its corpus about once."""
    epochs = tokens / corpus_tokens
    return finding(
        Verdict.TRUE if epochs >= 3 else Verdict.FALSE,
        "about one pass" if epochs < 3 else "",
        f"{digits(epochs)} {'pass' if epochs == 1 else 'passes'} over the data",
        f"{tokens / 1e12:g}T tokens trained / {corpus_tokens / 1e12:g}T in the corpus = {digits(epochs)}",
    )


@section.claim("training-weeks", "taking weeks on specialized GPU clusters")
def training_weeks(
    parameters_: float = 6_738_415_616.0,
    tokens: float = 2e12,
    mfu: float = 0.39,
    gpus: int = 512,
    more_gpus: int = 2000,
) -> Finding:
    """Count 6 operations per parameter and token, at the utilisation that Llama 2's published hours imply."""
    flops = training_flops(parameters_, tokens)
    hours = gpu_hours(flops, find_gpu("a100").flops_per_s, mfu)
    few, many = hours / gpus / 24, hours / more_gpus / 24
    verdict = Verdict.TRUE_IF if many < 14 <= few else Verdict.TRUE if many >= 14 else Verdict.FALSE
    return finding(
        verdict,
        f"about {gpus} GPUs",
        f"{digits(few)} days on {gpus}, {digits(many)} on {more_gpus:,}",
        f"6 · {parameters_:.4g} parameters · {tokens:.2g} tokens = {flops:.3g} FLOP",
        f"{flops:.3g} / (312e12 FLOP/s · {mfu} MFU · 3600) = {hours:,.0f} A100 hours",
        f"published: {LLAMA_2_7B_HOURS:,.0f} hours",
        f"{hours:,.0f} h / {gpus} GPUs / 24 = {few:.1f} days; / {more_gpus:,} GPUs = {many:.1f} days",
    )


@section.claim("training-cost", "Training a model from scratch costs $100,000+ in cloud GPU compute")
def training_cost(
    hours: float = LLAMA_2_7B_HOURS, dollars_per_hour: float = 1.19, tokens: float = 2e12, claimed: float = 100_000.0
) -> Finding:
    """Multiply Llama 2's published GPU hours by the article's price of an A100."""
    dollars = hours * dollars_per_hour
    return finding(
        Verdict.TRUE if dollars >= claimed else Verdict.FALSE,
        f"a lower bound; ${claimed:,.0f} buys {digits(claimed / dollars * tokens / 1e12)}T tokens",
        f"${dollars:,.0f} for {tokens / 1e12:g}T tokens",
        f"{hours:,.0f} A100 hours · ${dollars_per_hour} = ${dollars:,.0f} (MPT-7B, 1T tokens: about $200,000, "
        "published)",
        f"{claimed:,.0f} / {dollars:,.0f} · {tokens / 1e12:g}T = {claimed / dollars * tokens / 1e12:.2f}T tokens",
    )


@section.claim("forward-only", "Forward pass only ... No weight updates", runs=True)
def forward_only(new_tokens: int = 8) -> Finding:
    """Hash all weights before and after a run of the engine."""
    import hashlib

    from minillm.generation import generate

    model = small_model("plain")  # whose weights are plain arrays

    def digest() -> str:
        matrices = [
            model.embedding,
            *(matrix for x in model.layers() for matrix in (x.qkv, x.output, x.gate_up, x.down)),
        ]
        return hashlib.sha256(b"".join(matrix.tobytes() for matrix in matrices)).hexdigest()[:16]

    before = digest()
    generate(model, prompt_ids(), new_tokens)
    after = digest()
    return finding(
        Verdict.TRUE if before == after else Verdict.FALSE,
        "",
        f"the weights are {'the same' if before == after else 'different'} after {new_tokens} new tokens",
        f"SHA-256 of weights before a run of {new_tokens} tokens: {before}",
        f"after it: {after}",
    )


@section.claim("cheaper-per-example", "dramatically cheaper than training on a per-example basis")
def cheaper_per_example(
    tokens: float = 2e12, hours: float = LLAMA_2_7B_HOURS, batch: int = 1, dramatic: float = 10.0
) -> Finding:
    """Compare operations per token, and GPU time per token: trained in large batches, decoded in this batch."""
    model, a100 = find_model("llama-2-7b"), find_gpu("a100")
    ratio = training_flops(1, 1) / inference_flops(1, 1)
    batch = max(1, batch)
    trained_s, decoded_s = hours * 3600 / tokens, decode_time(Serving(model, a100), 1, batch).seconds / batch
    cheaper = trained_s / decoded_s
    return finding(
        Verdict.TRUE if min(cheaper, ratio) >= dramatic else Verdict.IMPRECISE,
        f"{digits(ratio)}x by operations; {digits(1 / cheaper)}x more expensive in GPU time at batch {batch}",
        f"6P / 2P = {digits(ratio)}; a token takes {ms(trained_s)} of a GPU in training, {ms(decoded_s)} at batch "
        f"{batch}",
        f"operations: 6P / 2P = {digits(ratio)}",
        f"training: {hours:,.0f} h · 3600 / {tokens:.2g} tokens = {ms(trained_s)} of an A100",
        f"decode at batch {batch}: 13.21 GB / 2,039 GB/s for {batch} tokens = {ms(decoded_s)} each: "
        f"{digits(1 / cheaper)} times as long",
        f"dramatic would be {dramatic:g} times in both",
    )


@section.claim("forward-100", "A forward pass on 100 tokens costs milliseconds on a single GPU")
def forward_100(tokens: int = 100, model: str = "llama-2-7b", gpu: str = "a100") -> Finding:
    """Compare one parallel pass with passes over the same tokens one after another."""
    serving = Serving(find_model(model), find_gpu(gpu))
    together, one = prefill_time(serving, tokens), decode_time(serving, 1).seconds
    return finding(
        Verdict.TRUE_IF if together.seconds < 0.1 <= tokens * one else Verdict.TRUE if tokens * one < 0.1
        else Verdict.FALSE,
        "one parallel pass",
        f"{ms(together.seconds)} in one pass; {ms(tokens * one)} one by one",
        f"one pass: max({ms(together.compute_s)} compute, {ms(together.memory_s)} memory) = {ms(together.seconds)}",
        f"decoding: {tokens} · {ms(one)} = {ms(tokens * one)}",
    )  # fmt: skip


@section.claim("inference-dwarfs", "The total inference cost across a platform dwarfs training cost")
def inference_dwarfs(trained_tokens: float = 2e12, served_tokens: float = 6e12) -> Finding:
    """Compare the operations of all served tokens with those of training."""
    training, served = training_flops(1, trained_tokens), inference_flops(1, served_tokens)
    equal = trained_tokens * training_flops(1, 1) / inference_flops(1, 1)
    return finding(
        Verdict.TRUE if served > 10 * training else Verdict.TRUE_IF,
        f"above {digits(equal / 1e12)}T served tokens",
        f"equal at 3 · {trained_tokens / 1e12:g}T = {digits(equal / 1e12)}T served tokens",
        f"training: 6P · {trained_tokens:.2g}; inference: 2P · served tokens",
        f"equal when served = 3 · {trained_tokens:.2g} = {equal:.2g}; at {served_tokens:.2g}: "
        f"{served / training:.2f} times",
    )


@section.claim("chat-50-cents", "Running inference for one user asking 100 questions: $0.50 (at typical API rates)")
def chat_50_cents(
    prompt_tokens: int = 500, new_tokens: int = 500, dollars_in: float = 2.0, dollars_out: float = 8.0
) -> Finding:
    """Apply GPT-4.1's prices for a million tokens."""
    each = api_dollars(prompt_tokens, new_tokens, dollars_in, dollars_out)
    return finding(
        Verdict.TRUE_IF if abs(100 * each - 0.5) < 0.005 else Verdict.FALSE,
        f"{prompt_tokens} tokens in and {new_tokens} out",
        f"${each:.4g} a question, ${100 * each:.2f} for 100",
        f"({prompt_tokens} · ${dollars_in} + {new_tokens} · ${dollars_out}) / 1e6 = ${each:.4g}; 100 of them "
        f"${100 * each:.2f}",
    )


@section.claim("chat-daily", "1,000 daily active users, 100 questions each: $50/day")
def chat_daily(users: int = 1000, dollars_per_user: float = 0.5, claimed: float = 50.0) -> Finding:
    """Multiply the article's own $0.50 by its users."""
    day = users * dollars_per_user
    return finding(
        Verdict.TRUE if abs(day - claimed) < 0.01 * claimed else Verdict.FALSE,
        f"${day:,.0f} a day",
        f"${day:,.0f} a day",
        f"{users:,} users · ${dollars_per_user} = ${day:,.0f}, the article has ${claimed:,.0f}",
    )


@section.claim("chat-yearly", "$50/day or $18,250/year")
def chat_yearly(dollars_per_day: float = 50.0, claimed: float = 18_250.0) -> Finding:
    """Multiply by the days of a year."""
    year = 365 * dollars_per_day
    return finding(
        Verdict.TRUE if abs(year - claimed) < 1 else Verdict.FALSE,
        f"arithmetic; from $500 a day it is ${365 * 500:,}",
        f"${year:,.0f} a year",
        f"365 · ${dollars_per_day:g} = ${year:,.0f}",
    )


@section.claim("annual-exceeds", "After one year, the cumulative inference cost ($18,250) exceeds ... ($100,000)")
def annual_exceeds(training: float = 100_000.0, dollars_per_day: float = 50.0, days: int = 365) -> Finding:
    """Find the day on which all inference so far has cost as much as the training."""
    even, right = break_even_days(training, dollars_per_day), break_even_days(training, 10 * dollars_per_day)
    spent = days * dollars_per_day
    return finding(
        Verdict.TRUE if even <= days else Verdict.FALSE,
        f"with the right ${10 * dollars_per_day:,.0f} a day it holds from day {right:,.0f}",
        f"{spent / training:.2%} of the training; break-even on day {even:,.0f}",
        f"{days} days · ${dollars_per_day:g} = ${spent:,.0f} = {spent / training:.2%} of ${training:,.0f}",
        f"${training:,.0f} / ${dollars_per_day:g} = day {even:,.0f}; / ${10 * dollars_per_day:g} = day {right:,.0f}",
    )


@section.claim("five-years", "After 5 years, inference costs are $91,250:nearly as expensive as training the model")
def five_years(dollars_per_day: float = 50.0, training: float = 100_000.0) -> Finding:
    """Add up five years of the article's daily cost."""
    total = 5 * 365 * dollars_per_day
    return finding(
        Verdict.TRUE if 0.85 <= total / training <= 1.15 else Verdict.FALSE,
        f"arithmetic; from $500 a day it is ${5 * 365 * 500:,}",
        f"${total:,.0f}, {total / training:.2%} of the training",
        f"5 · 365 · ${dollars_per_day:g} = ${total:,.0f} = {total / training:.2%} of ${training:,.0f}",
    )


@section.claim("margin-10", "A 10% reduction in inference cost translates directly to 10% additional profit margin")
def margin_10(reduction: float = 0.1, cost_share_of_revenue: float = 0.5) -> Finding:
    """Multiply the reduction by inference's share of the revenue: that many points of margin are gained."""
    points = 100 * reduction * cost_share_of_revenue
    return finding(
        Verdict.TRUE if abs(points - 100 * reduction) < 0.5 else Verdict.FALSE,
        "10 points only if inference costs all of the revenue",
        f"{digits(points)} points at a cost of {cost_share_of_revenue:.0%} of revenue",
        f"{reduction:.0%} · (inference cost / revenue = {cost_share_of_revenue:g}) = {digits(points)} points of margin",
    )
