"""Claims of the section "Speculative decoding". Source of the theory: Leviathan et al., 2211.17192."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minillm.estimate.speculation import speedup, tokens_per_round
from minillm.evidence.claims.experiments import prompt_ids, small_model, watched_passes
from minillm.evidence.claims.ledger import Finding, Section, Verdict, finding

section = Section("Speculative decoding")


@section.claim("spec-verify", "K tokens are speculative, verified in the same pass", runs=True)
def spec_verify(k: int = 4) -> Finding:
    """Run one forward pass of the engine over K + 1 tokens: it gives the logits after each."""
    from minillm.kv_cache.contiguous import KVCache
    from minillm.prefill import prefill
    from minillm.transformer import forward_batch

    model, passes = watched_passes(small_model())
    tokens = prompt_ids()
    k = min(max(1, k), len(tokens) - 2)
    cache = KVCache(model, len(tokens))
    prefill(model, tokens[: -k - 1], cache)
    rows = forward_batch(model, [(tokens[-k - 1 :], cache)], [k + 1])
    return finding(
        Verdict.TRUE if passes[1:] == [k + 1] and len(rows) == k + 1 else Verdict.FALSE,
        "",
        f"{len(passes) - 1} pass over {k + 1} tokens gives {len(rows)} rows of logits",
    )


@section.claim("spec-rule", "Accept tokens that match the full model; reject and re-sample if they don't", runs=True)
def spec_rule(draws: int = 2000, seed: int = 0) -> Finding:
    """Apply the engine's rule to random distributions: its tokens are distributed like the full model's."""
    from minillm.speculative.rounds import accept_or_correct

    generator = np.random.default_rng(seed)
    p, q = generator.dirichlet(np.ones(6), 2)
    draws = min(max(100, draws), 100_000)
    drafted = generator.choice(6, draws, p=q)
    tokens = np.array([accept_or_correct(int(token), p, q, generator) for token in drafted])
    accepted = tokens == drafted
    counts = np.bincount(tokens, minlength=6)
    chi_square = float(((counts - draws * p) ** 2 / (draws * p)).sum())
    return finding(
        Verdict.TRUE_IF if chi_square < 20.5 else Verdict.FALSE,
        "greedy decoding; to sample, accept with min(1, p/q), else draw from max(0, p - q) normalised",
        f"chi-square of {draws:,} tokens {chi_square:.1f}, below 20.5 (99.9% of 5 degrees of freedom)",
        "greedy: accept while the draft token is the full model's argmax",
        f"sampling: {accepted.mean():.1%} accepted; 1 - TV(p, q) = {np.minimum(p, q).sum():.1%}",
        f"counts {counts.tolist()}, expected {np.round(draws * p).astype(int).tolist()}",
    )


@section.claim(
    "spec-example",
    '[Paris, is] ... low confidence (reject) ... [beautiful] ... Continue from "...is beautiful"',
    runs=True,
)
def spec_example(rejected: str = "is", correction: str = "beautiful") -> Finding:
    """Run the engine's round of the article's draft, for a full model that says Paris, then the correction."""
    from minillm.completion import Completion
    from minillm.sampling import Sampling
    from minillm.speculative.drafters import Draft
    from minillm.speculative.rounds import verify_draft

    words, drafted = ["The capital of France is", "Paris", rejected, correction], ["Paris", rejected]
    full = np.eye(small_model().config.vocab_size)[[words.index(word) for word in ("Paris", correction, correction)]]
    answer = Completion.of(small_model(), [0], 3, Sampling(ignore_eos=True))
    steps = verify_draft(answer, Draft([words.index(word) for word in drafted]), full)
    text, article = [words[token] for token in answer.sequence], words
    return finding(
        Verdict.TRUE if text == article else Verdict.FALSE,
        f"it keeps the rejected token; {' '.join(text)!r} is correct",
        f"after rejecting {rejected!r}: {' '.join(text)!r}",
        f"the engine's round: {', '.join(f'{words[step.token]} {step.origin}' for step in steps)}",
        "a rejected draft token and all after it are dropped; the full model's token replaces it",
    )


@section.claim("spec-confidence", "Full model verification ...: low confidence (reject)")
def spec_confidence(p: float = 0.05, q: float = 0.04, other_p: float = 0.4, other_q: float = 0.8) -> Finding:
    """Compare two draft tokens: an improbable one that is accepted, and a more probable one that often is not."""
    improbable, probable = min(1.0, p / q), min(1.0, other_p / other_q)
    confidence_decides = (p < other_p) == (improbable < probable)
    return finding(
        Verdict.TRUE if confidence_decides else Verdict.FALSE,
        "the ratio p/q decides, not the confidence",
        f"p={p:g}, q={q:g}: accepted with {improbable:.2f}; p={other_p:g}, q={other_q:g}: with {probable:.2f}",
        f"min(1, {p:g}/{q:g}) = {improbable:.2f}; min(1, {other_p:g}/{other_q:g}) = {probable:.2f}",
    )


@section.claim(
    "spec-1-plus-k", "instead of computing 1 token per forward pass, compute 1 + K tokens per forward pass", runs=True
)
def spec_1_plus_k(k: int = 4, acceptance: float = 0.8, lower: float = 0.6, rounds: int = 1000) -> Finding:
    """Compute the tokens of a round by formula, by the engine's rule, and with story and its draft model."""
    rounds, k, acceptance = min(max(100, rounds), 20_000), min(max(1, k), 15), min(acceptance, 1.0)
    expected = tokens_per_round(acceptance, k)
    counted = sum(_round_tokens(acceptance, k, rounds)) / rounds
    out = _speculate(k)
    return finding(
        Verdict.FALSE if abs(counted / expected - 1) > 0.1 else
        Verdict.TRUE if expected > k + 0.9 else Verdict.IMPRECISE,
        "the best case, when all draft tokens are accepted",
        f"K={k}: {expected:.2f} tokens a round at acceptance {acceptance:g}, {tokens_per_round(lower, k):.2f} at "
        f"{lower:g}",
        f"(1 - {acceptance:g}^{k + 1}) / (1 - {acceptance:g}) = {expected:.2f}",
        f"counted in {rounds:,} rounds of the engine's rule, each draft token accepted with {acceptance:g}: "
        f"{counted:.2f}",
        f"story with story-draft, greedy: {len(out.tokens)} tokens in {out.rounds} rounds and the prompt's pass; "
        f"{out.accepted} of {out.proposed} draft tokens accepted",
    )  # fmt: skip


def _round_tokens(acceptance: float, k: int, rounds: int) -> Iterator[int]:
    """Yield each round's accepted draft tokens plus one: the draft has probability 1, the target `acceptance`."""
    from minillm.speculative.rounds import accept_or_correct

    p, q, generator = np.array([acceptance, 1 - acceptance]), np.array([1.0, 0.0]), np.random.default_rng(0)
    for _ in range(rounds):
        accepted = 0
        while accepted < k and accept_or_correct(0, p, q, generator) == 0:
            accepted += 1
        yield accepted + 1


def _speculate(k: int) -> Any:
    from minillm.loading.load import load
    from minillm.sampling import Sampling
    from minillm.speculative.generation import speculative_generate

    story, draft = load("story", "exact"), small_model("exact")
    return speculative_generate(story, draft, prompt_ids(), 30, Sampling(ignore_eos=True), k)


@section.claim("spec-20-40", "In practice, speculative decoding speeds up inference by 20-40%")
def spec_20_40(k: int = 4, draft_cost: float = 0.1, many: int = 8) -> Finding:
    """Compute the speed-up by acceptance, where verifying K + 1 tokens takes as long as one step."""
    ups = {acceptance: speedup(acceptance, k, draft_cost) for acceptance in (0.4, 0.5, 0.8)}
    loses = speedup(0.4, many, draft_cost)
    return finding(
        Verdict.TRUE if 1.2 <= min(ups.values()) and max(ups.values()) <= 1.4 else Verdict.IMPRECISE,
        "0.9x to 3x, depending on acceptance",
        ", ".join(f"acceptance {a:g} {up:.2f}x" for a, up in ups.items()) + f"; K={many} at 0.4 {loses:.2f}x",
        *(f"K={k}, draft cost {draft_cost:g}: {tokens_per_round(a, k):.2f} / {1 + k * draft_cost:g} = {up:.2f}"
          for a, up in ups.items()),
        "published: 2-3x (T5-XXL), 2-2.5x (Chinchilla), 1.92x (gpt-fast)",
    )  # fmt: skip


@section.claim("spec-vendors", "Companies like Anthropic and OpenAI use speculative decoding in production APIs")
def spec_vendors() -> Finding:
    """State what the companies have published about it."""
    return finding(
        Verdict.UNCHECKABLE,
        "not public",
        "no public account; OpenAI documents a relative, Predicted Outputs",
    )
