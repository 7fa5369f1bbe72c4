"""After a rejection only the rejected token is left out, and the rest of the draft's distribution is not subtracted."""

ENGINE = "EAGLE"
KIND = "rejection sampling"
THREAD = "https://github.com/SafeAILab/EAGLE/issues/20"
TITLE = "Is the rejection and adjusting probability implementation different from normal speculative sampling?"
SEEN = "Nothing in a single answer. Over many answers, tokens that the draft model likes come too often."
CAUSE = """
A correction has to be drawn from max(0, p - q), normalised. The code set the probability of the rejected token to 0 and
kept the others as they were.
"""
PROPERTY = "rejection_sampling_gives_the_target_distribution"
MODULE, FUNCTION = "minillm.speculative.rounds", "accept_or_correct"
PATCH = [
    (
        "sample_from(residual(p, q), generator)",
        "sample_from(residual(p, np.where(np.arange(len(p)) == token, p, 0.0)), generator)",
    )
]


def answer(_):
    import numpy as np

    from minillm.speculative.rounds import accept_or_correct

    p, q, generator = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6]), np.random.default_rng(0)
    drawn = [accept_or_correct(int(generator.choice(3, p=q)), p, q, generator) for _ in range(20_000)]
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    return ["20,000 tokens, target 0.50 0.30 0.20, drawn: " + " ".join(f"{share:.2f}" for share in shares)]
