"""Figures of papers on the parts of a layer and on sampling, checked on the engine's own functions."""

import numpy as np

from minillm.estimate.models import find_model
from minillm.evidence.papers.ledger import COUNT, Ours, Topic

topic = Topic()
ROPE, RMS = "Su et al., RoFormer, 2104.09864", "Zhang, Sennrich, RMSNorm, 1910.07467"
GLU = "Shazeer, GLU Variants, 2002.05202"
TOP_P, MIN_P = "Holtzman et al., 1904.09751", "Nguyen et al., Turning Up the Heat, 2407.01082"
PROPERTY = "property of the engine's own function"


@topic.figure("rope-relative", ROPE, "scores depend on how far query and key are apart, not on where they are")
def rope_relative() -> Ours:
    """Rotate a query and a key to their positions and to both shifted by 1,000: the product stays the same."""
    from minillm.config import RopeParameters
    from minillm.layers import apply_rope, rope_cos_sin

    q, k = np.random.default_rng(0).normal(size=(2, 1, 1, 64))

    def score(query_at: int, key_at: int) -> float:
        rotated = [apply_rope(x, rope_cos_sin(np.array([at]), RopeParameters(), 64))
                   for x, at in ((q, query_at), (k, key_at))]  # fmt: skip
        return float((rotated[0] * rotated[1]).sum())

    largest = max(abs(score(at, at - back) - score(at + 1000, at + 1000 - back))
                  for at in (20, 77) for back in (0, 1, 15))  # fmt: skip
    return Ours("equal to 1e-12" if largest < 1e-12 else f"differ by {largest:.0e}", largest < 1e-12, PROPERTY)


@topic.figure("rmsnorm-scale", RMS, "invariant under scaling of its input (eps = 0)")
def rmsnorm_scale() -> Ours:
    """Normalise a row and 1,024 times that row; 1,024 is a power of two, so no bit is lost to rounding."""
    from minillm.layers import rms_norm

    x, weight = np.random.default_rng(0).normal(size=(2, 64))
    same = np.array_equal(rms_norm(x, weight, 0.0), rms_norm(1024 * x, weight, 0.0))
    return Ours("the same to the bit" if same else "different", same, PROPERTY)


@topic.figure("swiglu-width", GLU, "three matrices, so the intermediate size is cut to 2/3; Llama-2 7B has 11,008")
def swiglu_width() -> Ours:
    """Take 2/3 of 4 times the hidden size, rounded up to a multiple of 256."""
    size = 4 * 4096 * 2 / 3
    rounded = -int(-size // 256) * 256
    return Ours(f"{size:,.1f}, rounded up {rounded:,}", rounded == find_model("llama-2-7b").intermediate_size, COUNT)


@topic.figure("top-p", TOP_P, "the smallest set of most probable tokens whose probability reaches p")
def top_p() -> Ours:
    """Draw random distributions: the kept tokens reach p, and without the least probable of them they do not."""
    from minillm.sampling import Sampling, probabilities

    generator, holds = np.random.default_rng(0), 0
    for _ in range(100):
        logits, p = generator.normal(0, 2, 50), float(generator.uniform(0.05, 0.95))
        raw = np.exp(logits) / np.exp(logits).sum()
        kept = raw[probabilities(logits, Sampling(1.0, top_p=p)) > 0]
        reaches = kept.sum() >= p > kept.sum() - kept.min()
        holds += bool(reaches and kept.min() >= np.sort(raw)[-len(kept)])
    return Ours(f"in {holds} of 100 distributions", holds == 100, PROPERTY)


@topic.figure("min-p", MIN_P, "tokens with at least min_p times the largest probability")
def min_p() -> Ours:
    """Draw random distributions: exactly these tokens are kept."""
    from minillm.sampling import Sampling, probabilities

    generator, holds = np.random.default_rng(0), 0
    for _ in range(100):
        logits, share = generator.normal(0, 2, 50), float(generator.uniform(0.01, 0.9))
        kept = probabilities(logits, Sampling(1.0, min_p=share)) > 0
        holds += bool(np.array_equal(kept, logits - logits.max() >= np.log(share)))
    return Ours(f"in {holds} of 100 distributions", holds == 100, PROPERTY)
