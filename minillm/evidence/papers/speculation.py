"""Figures of papers on speculative decoding."""

from collections.abc import Sequence

import numpy as np

from minillm.estimate.speculation import acceptance_rate, best_k, operations, speedup
from minillm.evidence.papers.ledger import CONTRADICTION, FORMULA, Kind, Ours, Topic, listed

topic = Topic()
LEVIATHAN, CHEN = "Leviathan et al., 2211.17192", "Chen et al., 2302.01318"
LOOKUP = "Saxena, prompt lookup decoding, 2023"
TABLE_1 = {  # acceptance, draft tokens: operations, speed-up
    (0.6, 2): (1.53, 1.96), (0.7, 3): (1.58, 2.53), (0.8, 2): (1.23, 2.44),
    (0.8, 5): (1.63, 3.69), (0.9, 2): (1.11, 2.71), (0.9, 10): (1.60, 6.86),
}  # fmt: skip
TABLE_4 = [  # draft tokens, acceptance, cost of the draft, printed speed-up
    (7, 0.75, 0.02, 3.2), (7, 0.80, 0.04, 3.3), (7, 0.82, 0.11, 2.5), (5, 0.65, 0.02, 2.4), (5, 0.73, 0.04, 2.6),
    (3, 0.74, 0.11, 2.0), (7, 0.62, 0.02, 2.3), (5, 0.68, 0.04, 2.4), (3, 0.71, 0.11, 2.0), (5, 0.53, 0.02, 1.9),
    (3, 0.55, 0.04, 1.8), (3, 0.56, 0.11, 1.6),
]  # fmt: skip


@topic.figure(
    "lev-table1", LEVIATHAN, "Table 1: operations and speed-up of six settings, with a draft that costs nothing"
)
def lev_table1() -> Ours:
    """Compute (g·c' + g + 1) / E and E / (g·c + 1)."""
    ours = {setting: (operations(*setting, 0), speedup(*setting, 0)) for setting in TABLE_1}
    same = sum(round(value, 2) == printed for setting, pair in ours.items()
               for value, printed in zip(pair, TABLE_1[setting], strict=True))  # fmt: skip
    return Ours(f"{same} of 12 as printed", same == 12, FORMULA, tuple(
        f"acceptance {a:g}, {g} draft tokens: {work:.2f} operations, {up:.2f} times"
        for (a, g), (work, up) in ours.items()
    ))  # fmt: skip


@topic.figure("lev-table4", LEVIATHAN, "Table 4: speed-ups by the formula, 1.6 to 3.3")
def lev_table4() -> Ours:
    """Compute each speed-up; some match only within the rounding of acceptance and cost."""
    rounded = inside = 0
    for k, acceptance, cost, printed in TABLE_4:
        rounded += round(speedup(acceptance, k, cost), 1) == printed
        slowest, fastest = speedup(acceptance - 0.005, k, cost + 0.005), speedup(acceptance + 0.005, k, cost - 0.005)
        inside += slowest - 0.05 < printed < fastest + 0.05
    return Ours(
        f"{rounded} of 12 rounded, {inside} within the inputs' rounding", inside == 12,
        f"{FORMULA}; the paper's own measurements differ from it by up to 47%",
    )  # fmt: skip


BEST_K = {  # cost of the draft: the best number of draft tokens at acceptances 0.5, 0.6, 0.7, 0.8, 0.9
    0.01: [5, 7, 9, 14, 24], 0.02: [4, 6, 8, 11, 19], 0.05: [3, 4, 6, 8, 13],
    0.1: [2, 3, 4, 6, 10], 0.2: [1, 2, 3, 4, 7],
}  # fmt: skip


@topic.figure("lev-optimal-g", LEVIATHAN, "Figure 3: the best number of draft tokens, a plot")
def lev_optimal_g() -> Ours:
    """Compute the best g for acceptances 0.5 to 0.9, at five draft costs."""
    grid = {cost: [best_k(a / 10, cost, 40) for a in range(5, 10)] for cost in BEST_K}
    return Ours(
        "; ".join(f"c={cost:g}: {', '.join(map(str, best))}" for cost, best in grid.items()),
        grid == BEST_K,
        "formula; the paper only has a plot, the digits are ours",
    )


@topic.figure("lev-bigram", LEVIATHAN, "1.25 times with a bigram of acceptance 0.2 and 3 draft tokens")
def lev_bigram() -> Ours:
    """Compute E for a draft that costs nothing."""
    ours = speedup(0.2, 3, 0)
    return Ours(f"{ours:.3f}", round(ours, 2) == 1.25, FORMULA)


@topic.figure("lev-lenience", LEVIATHAN, "temperature 0: 3.3, 3.9, 4.9; temperature 1: 2.5, 3.1, 3.6, 5")
def lev_lenience() -> Ours:
    """Compute speed-ups at the printed acceptances: 8 draft tokens at temperature 0, the best k at temperature 1."""
    greedy = [speedup(a, 8, 0.015) for a in (0.75, 0.80, 0.87)]
    sampled = [max(speedup(a, k, 0.015) for k in range(1, 40)) for a in (0.62, 0.71, 0.76, 0.84)]
    below = all(ours < printed - 0.05 for ours, printed in zip(sampled, (2.5, 3.1, 3.6, 5), strict=True))
    same = [round(value, 1) for value in greedy] == [3.3, 3.9, 4.9]
    return Ours(
        f"{listed(greedy, 1)}; {listed(sampled, 2)}", same and not below,
        f"{CONTRADICTION}: its formula gives the values of temperature 0, not those of temperature 1",
    )  # fmt: skip


@topic.figure("lev-alpha", LEVIATHAN, "acceptances: small drafts 0.5 to 0.9, bigrams 0.05 to 0.23", Kind.TREND)
def lev_alpha() -> Ours:
    """Average sum(min(p, q)) along a text of story: for its draft model, and a bigram, that draft given one token."""
    from minillm.generation import generate
    from minillm.loading.load import load
    from minillm.sampling import Sampling, probabilities
    from minillm.transformer import forward

    story, draft = load("story", "exact"), load("story-draft", "exact")
    text = generate(draft, "Once upon a time there was a", 60, Sampling(1.0, seed=0, ignore_eos=True)).tokens
    logits = forward(story, text), forward(draft, text), np.stack([forward(draft, [token])[0] for token in text])
    target, small, bigram = ([probabilities(row, Sampling(1.0)) for row in rows] for rows in logits)
    alpha, low = (float(np.mean([acceptance_rate(p, q) for p, q in zip(target, qs, strict=True)]))
                  for qs in (small, bigram))  # fmt: skip
    return Ours(
        f"draft {alpha:.2f}, bigram {low:.2f}",
        low < 0.5 <= alpha <= 0.95,
        "ordering, with story and story-draft; the bigram is story-draft given one token",
    )


@topic.figure("lookup-copies", LOOKUP, "prompt lookup pays where the answer copies from the prompt", Kind.TREND)
def lookup_copies() -> Ours:
    """Count tokens per round of 4 draft tokens, compared with a text of story, and with an answer that quotes it."""
    from minillm.evidence.claims.experiments import prompt_ids
    from minillm.generation import generate
    from minillm.loading.load import load
    from minillm.sampling import Sampling

    prompt = prompt_ids()
    text = generate(load("story", "exact"), prompt, 80, Sampling(ignore_eos=True)).tokens
    free, copied = _tokens_per_round(prompt, text), _tokens_per_round([*prompt, *text], text)
    return Ours(
        f"{copied:.1f} where it copies, {free:.1f} in free text",
        copied > 2 * free,
        "direction: draft tokens are compared with the text, as by a model that writes it",
    )


def _tokens_per_round(prompt: Sequence[int], text: Sequence[int]) -> float:
    """Return tokens per round with prompt lookup: accepted draft tokens and one more, until `text` is complete."""
    from minillm.sampling import Sampling
    from minillm.speculative.drafters import PromptLookup

    position, rounds = 0, 0
    while position < len(text):
        draft = PromptLookup().propose([*prompt, *text[:position]], 4, Sampling(), np.random.default_rng(0)).tokens
        right = [drafted == token for drafted, token in zip(draft, text[position:], strict=False)]
        position += 1 + (right.index(False) if False in right else len(right))
        rounds += 1
    return len(text) / rounds


@topic.figure("lev-lossless", LEVIATHAN, "the rule draws exactly from the target")
def lev_lossless() -> Ours:
    """Check min(p, q) + (1 - acceptance) · norm(max(0, p - q)) = p with the engine's residual, 200 distributions."""
    from minillm.speculative.rounds import residual

    generator, largest = np.random.default_rng(0), 0.0
    for _ in range(200):
        p, q = generator.dirichlet(np.ones(5), 2)
        drawn = np.minimum(p, q) + (1 - acceptance_rate(p, q)) * residual(p, q)
        largest = max(largest, float(np.abs(drawn - p).max()))
    return Ours("equal to 1e-12" if largest < 1e-12 else f"largest difference {largest:.0e}", largest < 1e-12, FORMULA)


@topic.figure("chen-ratio", CHEN, "XSum nucleus 1.92, XSum greedy 2.01, HumanEval 2.46 times")
def chen_ratio() -> Ours:
    """Divide the paper's own milliseconds for a token: 14.1 by 7.52, 7.00 and 5.73."""
    ratios = [14.1 / each for each in (7.52, 7.00, 5.73)]
    same = [round(ratio, 2) for ratio in ratios] == [1.92, 2.01, 2.46]
    return Ours(listed(ratios, 3), same, f"{CONTRADICTION}: 14.1 / 7.52 is 1.875, not 1.92")
