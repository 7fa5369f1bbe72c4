"""Claims of the section "Cost"."""

from minillm.estimate.cost import break_even_days
from minillm.evidence.claims.ledger import Finding, Section, Verdict, digits, finding

section = Section("Cost")


@section.claim("bills-inference", "Most LLM API bills are dominated by inference, not training")
def bills_inference(token_dollars: float = 100.0, tuning_dollars: float = 0.0) -> Finding:
    """Divide a bill into tokens and fine-tuning, which only few customers order."""
    share = token_dollars / (token_dollars + tuning_dollars)
    return finding(
        Verdict.TRUE if share > 0.5 else Verdict.FALSE,
        "by definition",
        "prices of tokens bill inference; fine-tuning is billed apart",
        f"${token_dollars:g} for tokens / (${token_dollars:g} + ${tuning_dollars:g} for fine-tuning) = {share:.0%}",
    )


@section.claim("amortised-55", "A $100,000 training cost amortized over 5 years of service is $55/day")
def amortised_55(training: float = 100_000.0, years: float = 5.0, claimed: float = 55.0) -> Finding:
    """Divide by all days."""
    day = training / (years * 365)
    return finding(
        Verdict.TRUE if abs(day / claimed - 1) < 0.01 else Verdict.FALSE,
        "",
        f"${day:.2f} a day",
        f"${training:,.0f} / ({years:g} · 365) = ${day:.2f}",
    )


@section.claim("calls-10k", "One million API calls per day at $0.01 per call is $10,000/day")
def calls_10k(calls: float = 1e6, dollars_per_call: float = 0.01, claimed: float = 10_000.0) -> Finding:
    """Multiply calls by price."""
    day = calls * dollars_per_call
    return finding(
        Verdict.TRUE if abs(day - claimed) < 1 else Verdict.FALSE,
        "",
        f"${day:,.0f} a day",
        f"{calls:,.0f} · ${dollars_per_call:g} = ${day:,.0f}",
    )


@section.claim("first-day", "After the first day ..., the daily inference cost exceeds the amortized training cost")
def first_day(daily: float = 10_000.0, training: float = 100_000.0, years: float = 5.0) -> Finding:
    """Compare the day's inference with the day's share of the training."""
    share = training / (years * 365)
    return finding(
        Verdict.TRUE if daily > share else Verdict.FALSE,
        "at that volume",
        f"${daily:,.0f} is {daily / share:.1f} times ${share:.2f}",
    )


@section.claim("first-month", "After the first month, monthly inference cost exceeds the training cost")
def first_month(daily: float = 10_000.0, training: float = 100_000.0) -> Finding:
    """Add up thirty days, and find the day on which the training is paid."""
    return finding(
        Verdict.TRUE if 30 * daily > training else Verdict.FALSE,
        "at that volume",
        f"${30 * daily:,.0f} in 30 days; reached on day {break_even_days(training, daily):.0f}",
        f"30 · ${daily:,.0f} = ${30 * daily:,.0f}; ${training:,.0f} / ${daily:,.0f} = day "
        f"{break_even_days(training, daily):.0f}",
    )


@section.claim(
    "one-pct-table", "A 1% reduction in inference cost compounds at scale: ... saves $0.001/day ... $10,000/day"
)
def one_pct_table(dollars_per_call: float = 0.01, reduction: float = 0.01) -> Finding:
    """Compute the article's four volumes at its own price of a call."""
    article = {100: 0.001, 10_000: 0.10, 1_000_000: 10.0, 1_000_000_000: 10_000.0}
    saved = {calls: reduction * calls * dollars_per_call for calls in article}
    ratio = saved[100] / article[100]
    return finding(
        Verdict.TRUE if all(abs(saved[calls] / article[calls] - 1) < 0.01 for calls in article) else Verdict.FALSE,
        f"{digits(ratio)}x too low; it would fit $0.001 a call, and savings are linear: nothing compounds",
        ", ".join(f"${value:,.10g}" for value in saved.values()) + " a day",
        *(
            f"{reduction:.0%} · {calls:,} · ${dollars_per_call:g} = ${saved[calls]:,.10g}; article ${claim:,.10g}"
            for calls, claim in article.items()
        ),
    )
