"""Claims of the section "Overview"."""

from minillm.evidence.claims.experiments import PROMPT, small_model, watched_passes
from minillm.evidence.claims.ledger import Finding, Section, Verdict, finding

section = Section("Overview")


@section.claim(
    "three-steps",
    "the prompt is tokenized ... predicts the next token, and this process repeats until a stopping condition",
    runs=True,
)
def three_steps(new_tokens: int = 5) -> Finding:
    """Run the engine: it encodes the prompt, makes one pass over it, then one pass over each new token."""
    from minillm.generation import generate

    model, passes = watched_passes(small_model())
    out = generate(model, PROMPT, new_tokens)
    holds = passes == [out.prompt_tokens] + [1] * (len(out.tokens) - 1)
    return finding(
        Verdict.TRUE if holds else Verdict.FALSE,
        "",
        f"{out.prompt_tokens} tokens of prompt, passes of {', '.join(map(str, passes))} tokens",
        f"tokenize: {PROMPT!r} = {out.prompt_tokens} tokens",
        f"forward passes and the tokens that each ran: {passes}",
        f"stopped after {len(out.tokens)} new tokens, finish_reason {out.finish_reason!r}",
    )


@section.claim("stop-conditions", "end-of-sequence token, maximum length, or explicit stop", runs=True)
def stop_conditions() -> Finding:
    """Run the engine once for each way to end."""
    from minillm.generation import generate
    from minillm.sampling import Sampling

    model = small_model()
    runs = {
        "length": generate(model, PROMPT, 3, Sampling(ignore_eos=True)),
        "stop": generate(model, PROMPT, 200, Sampling(stop=["."], ignore_eos=True)),
        "eos": generate(model, "The capital of France is", 120),
    }
    found = {name: run.finish_reason for name, run in runs.items()}
    return finding(
        Verdict.TRUE if all(name == reason for name, reason in found.items()) else Verdict.FALSE,
        "",
        f"finish_reason {', '.join(found.values())}",
        *(f"{name}: {len(run.tokens)} new tokens, finish_reason {run.finish_reason!r}" for name, run in runs.items()),
    )
